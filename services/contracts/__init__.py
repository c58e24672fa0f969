"""The wire language, the only thing that services share: events, commands, replies, topics and the codec."""

from services.contracts.codec import MESSAGE_TYPES, encode, parse_message, parse_saga_event
from services.contracts.envelope import Item, Message, Money, new_id, now
from services.contracts.errors import ContractError, Invalid, Undecodable, UnknownType

__all__ = [
    "MESSAGE_TYPES",
    "ContractError",
    "Invalid",
    "Item",
    "Message",
    "Money",
    "Undecodable",
    "UnknownType",
    "encode",
    "new_id",
    "now",
    "parse_message",
    "parse_saga_event",
]
