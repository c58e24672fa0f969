"""A consumer that somebody else wrote against version 1 of `order.created`, by a copy of its models."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic_core import from_json

from services.contracts import Message, UnknownType
from services.contracts.events import Nothing
from services.contracts.topics import ORDER_EVENTS
from services.messaging import Consumer
from services.messaging.dead_letters import ConsumedRecord

GROUP = "somebody-else"


class _Open(BaseModel):
    """Takes what it does not know, as a reader has to."""

    model_config = ConfigDict(extra="ignore")


class _Money(_Open):
    amount: int
    currency: str


class _Item(_Open):
    sku: str
    quantity: int
    unit_price: _Money


class _OrderPlaced(_Open):
    customer_id: str
    items: list[_Item]
    total: _Money


class _OrderCreated(_Open):
    event_id: UUID
    event_type: Literal["order.created"]
    schema_version: Literal[1]
    order_id: str
    occurred_at: datetime
    payload: _OrderPlaced


@dataclass
class OldReader:
    """What it has read: the order of each event, and the types and versions that it has skipped."""

    orders: dict[UUID, str] = field(default_factory=dict)
    skipped: Counter[tuple[str, int]] = field(default_factory=Counter)

    def decode(self, record: ConsumedRecord) -> Message:
        """Read a record of version 1; anything else is not known here.

        Raises:
            UnknownType: it is of another type or version.
            ValidationError: it is of version 1, and not as that was.
        """
        fields = from_json(record.value or b"")
        if (fields["event_type"], fields["schema_version"]) != ("order.created", 1):
            self.skipped[fields["event_type"], fields["schema_version"]] += 1
            raise UnknownType("not of version 1")
        created = _OrderCreated.model_validate_json(record.value or b"")
        # The consumer of this package hands messages out; all that is taken of this one is its order.
        return Message.model_construct(
            event_id=created.event_id,
            event_type=created.event_type,
            saga_id="",
            order_id=created.order_id,
            sequence=0,
            payload=Nothing(),
        )

    async def handle(self, message: Message) -> None:
        """Remember an order; the same event a second time says nothing new."""
        self.orders[message.event_id] = message.order_id


@asynccontextmanager
async def old_reader(brokers: str) -> AsyncIterator[OldReader]:
    """Let it read what comes for the length of the block, in a group of its own."""
    reader = OldReader()
    async with Consumer(brokers, GROUP, [ORDER_EVENTS], reader.handle, decode=reader.decode):
        yield reader
