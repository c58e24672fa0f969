"""The wire language, the only thing that services share: events, commands, replies, topics and the codec."""

from services.contracts.codec import encode, parse_message, parse_saga_event
from services.contracts.envelope import Item, Message, Money, new_id, now
from services.contracts.errors import ContractError, Invalid, Undecodable, UnknownType, UnknownVersion

__all__ = [
    "ContractError",
    "Invalid",
    "Item",
    "Message",
    "Money",
    "Undecodable",
    "UnknownType",
    "UnknownVersion",
    "encode",
    "new_id",
    "now",
    "parse_message",
    "parse_saga_event",
]
