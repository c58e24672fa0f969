"""What tests write to an outbox and read from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, select, update

from services.contracts.events import SagaStarted
from services.messaging.outbox.outbox import Outbox, OutboxRow
from services.messaging.storage.clock import database_now, database_time
from services.messaging.storage.database import Database
from services.messaging.storage.tables import OUTBOX


def event(order: str, sequence: int = 0) -> SagaStarted:
    """Return a message about an order."""
    return SagaStarted(saga_id=f"saga-of-{order}", order_id=order, sequence=sequence)


async def put(database: Database, outbox: Outbox, *orders: str, topic: str = "events") -> list[UUID]:
    """Add a message for each order, in one transaction, and return their event ids."""
    events = [event(order, sequence) for sequence, order in enumerate(orders)]
    async with database.transaction() as connection:
        for each in events:
            await outbox.add(connection, topic, each)
    return [each.event_id for each in events]


async def put_late(database: Database, order: str, row_id: int) -> None:
    """Add a row as a transaction does that took its id early and committed late."""
    late = event(order)
    values = {
        "id": row_id,
        "event_id": late.event_id,
        "topic": "events",
        "key": order,
        "event_type": late.event_type,
        "value": b"{}",
        "trace_context": {},
        "saga_id": late.saga_id,
        "order_id": order,
        "created_at": database_now(),
        "next_attempt_at": database_now(),
        "attempts": 0,
    }
    async with database.transaction() as connection:
        await connection.execute(insert(OUTBOX).values(values))


async def mark_all_sent(database: Database, outbox: Outbox, rows: Sequence[OutboxRow]) -> list[bool]:
    """Mark claimed rows as sent, and return those that were still leased by us."""
    async with database.transaction() as connection:
        ours = await outbox.mark_sent(connection, rows)
    return [row in ours for row in rows]


async def expire_leases(database: Database) -> None:
    """Make every lease expired."""
    async with database.transaction() as connection:
        await connection.execute(update(OUTBOX).values(leased_until=database_time(-1)))


async def leased_until(database: Database) -> datetime:
    """Return until when the one leased row is leased."""
    async with database.reading() as connection:
        found = await connection.execute(select(OUTBOX.c.leased_until).where(OUTBOX.c.leased_until.is_not(None)))
    until: datetime = found.scalar_one()
    return until


async def make_due(database: Database) -> None:
    """Make every row due for its next attempt."""
    async with database.transaction() as connection:
        await connection.execute(update(OUTBOX).values(next_attempt_at=database_time(-1)))


@dataclass(frozen=True)
class Fate:
    """The state of a row."""

    order: str
    sent: bool
    attempts: int
    last_error: str | None
    leased: bool
    where: tuple[int, int] | None


async def fates(database: Database) -> list[Fate]:
    """Read the state of each row, oldest first."""
    async with database.reading() as connection:
        rows = (await connection.execute(select(OUTBOX).order_by(OUTBOX.c.id))).all()
    return [
        Fate(
            order=row.order_id,
            sent=row.sent_at is not None,
            attempts=row.attempts,
            last_error=row.last_error,
            leased=row.lease_token is not None,
            where=None if row.partition is None else (row.partition, row.offset),
        )
        for row in rows
    ]
