"""Consume: a member of a group takes records in, hands each one to a handler, and commits what is done.

`Membership` polls and commits, `Delivery` processes one record with its retries, and `Partition` keeps the order of
keys between them. `offsets` and `progress` are the bookkeeping, as pure values.
"""

from services.messaging.consuming.delivery import Decode, Delivery, Handler, Ladder, OnUnknown
from services.messaging.consuming.intake import Unreadable
from services.messaging.consuming.membership import Membership
from services.messaging.consuming.offsets import OffsetsWentBack

__all__ = [
    "Decode",
    "Delivery",
    "Handler",
    "Ladder",
    "Membership",
    "OffsetsWentBack",
    "OnUnknown",
    "Unreadable",
]
