"""The order service without its broker: its orders, reply handler, timeouts, and the messages it wants to send."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from services.contracts import Item, Message, Money, parse_message, replies
from services.contracts.commands import Command
from services.contracts.topics import ORCHESTRATOR_GROUP, PARTITIONS, SAGA_REPLIES
from services.messaging.outbox.outbox import Outbox
from services.messaging.storage.database import Database
from services.messaging.storage.inbox import Inbox
from services.messaging.storage.migrations import upgrade
from services.oms.handlers import ReplyHandler
from services.oms.orders import Orders
from services.oms.settings import TimeoutSettings
from services.oms.tables import history, outbox, sagas
from services.oms.timeouts import Timeouts
from services.oms.transitions import Transitions
from services.oms.views import Placed

ITEMS = (Item(sku="sku_ok", quantity=2, unit_price=Money(amount=150, currency="EUR")),)

_REPLIES: dict[str, type[Message]] = {
    kind.model_fields["event_type"].default: kind
    for kind in (
        replies.StockReserved,
        replies.StockRejected,
        replies.StockReleased,
        replies.PaymentCharged,
        replies.PaymentDeclined,
        replies.PaymentRefunded,
        replies.CommandDeadLettered,
    )
}


def reply(event_type: str, command: Message, **payload: Any) -> Message:
    """Answer a command."""
    asked = command.payload
    assert isinstance(asked, Command)
    return _REPLIES[event_type].model_validate(
        {
            "saga_id": command.saga_id,
            "order_id": command.order_id,
            "sequence": command.sequence,
            "payload": {"command_id": asked.command_id, "step": asked.step} | payload,
        },
    )


@dataclass
class OrderService:
    """The parts of the order service that tests use."""

    database: Database
    orders: Orders
    replies: ReplyHandler
    timeouts: Timeouts
    read_up_to: dict[tuple[str, int], datetime] = field(default_factory=dict)

    async def place(self, **changes: Any) -> Placed:
        """Place an order."""
        order: dict[str, Any] = {"customer_id": "c-1", "items": ITEMS, "payment_method": "pm_ok"}
        return await self.orders.place(**(order | changes))

    async def messages(self) -> list[Message]:
        """Read everything that was put into the outbox, in order."""
        async with self.database.reading() as connection:
            found = await connection.execute(select(outbox.c.value).order_by(outbox.c.id))
            return [parse_message(value) for value in found.scalars()]

    async def command(self) -> Message:
        """Read the last command that was put into the outbox."""
        return next(message for message in reversed(await self.messages()) if isinstance(message.payload, Command))

    async def answer(self, event_type: str, **payload: Any) -> Message:
        """Answer the last command, and return the answer."""
        answered = reply(event_type, await self.command(), **payload)
        await self.replies(answered)
        return answered

    async def verdicts(self) -> list[tuple[str, str, str]]:
        """Return all histories: each input, its verdict, and the state after it."""
        async with self.database.reading() as connection:
            found = await connection.execute(select(history).order_by(history.c.id))
            return [(row.input, row.verdict, row.state) for row in found]

    def read_replies(self, partitions: int = PARTITIONS, moment: datetime | None = None) -> None:
        """Mark the first partitions of the replies as read up to a moment, by default far past any deadline."""
        moment = moment or datetime.now(UTC) + timedelta(days=1)
        self.read_up_to |= {(SAGA_REPLIES, number): moment for number in range(partitions)}

    async def run_out(self) -> None:
        """Let the awaited reply time out."""
        async with self.database.transaction() as connection:
            awaited = sagas.c.command_id.is_not(None) & ~sagas.c.needs_attention
            past = datetime.now(UTC) - timedelta(seconds=1)
            await connection.execute(update(sagas).where(awaited).values(deadline=past))


@asynccontextmanager
async def order_service(
    url: str, settings: TimeoutSettings | None = None, *, partitions: int = PARTITIONS
) -> AsyncIterator[OrderService]:
    """Open the order service on a database; the broker has this many partitions of the replies."""
    await upgrade(url, "oms")
    database = Database(url, schema="oms")
    # As in the service, whose relay runs beside.
    outgoing = Outbox(database, has_relay=True)
    transitions = Transitions(database, outgoing)
    progress: dict[tuple[str, int], datetime] = {}
    timeouts = Timeouts(
        database, transitions, lambda: progress, lambda _: range(partitions), settings or TimeoutSettings()
    )
    handler = ReplyHandler(database, Inbox(ORCHESTRATOR_GROUP), transitions)
    try:
        yield OrderService(database, Orders(database, transitions), handler, timeouts, progress)
    finally:
        await database.close()
