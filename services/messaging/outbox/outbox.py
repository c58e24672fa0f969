"""The outbox: messages written in the transaction of the state they report, and sent by the relay after its commit.

What holds at each moment, and why:

- A row belongs to the relay that holds its lease: a claim writes a fresh token and an end by the database's clock, and
  every later write asks for that token. A relay that was too slow to renew its lease finds nothing to write to.
- Only the oldest unsent row of a (topic, key) can be claimed, so at most one is in flight and a key keeps its order.
  A row that cannot be sent waits for its next attempt, and with it its key, and nothing else.
- A claim asks which rows are unsent, never which are newer than the last one seen: ids are given at the insert, so a
  row with a lower id may be committed later.
- Rows of one key get their ids in commit order, because their writers hold the lock of the state row that the key
  stands for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    Float,
    Integer,
    RowMapping,
    Uuid,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts import Message, encode
from services.contracts.codec import Held
from services.messaging import trace_context
from services.messaging.crash_points import Write
from services.messaging.errors import MessageTooLarge
from services.messaging.outbox.listening import announce
from services.messaging.settings import ContractSettings
from services.messaging.storage import OUTBOX, Database, database_now, database_time, rows_of_json

# Kafka's default `max.message.bytes` is 1,048,588: this leaves 64 KiB for the headers, of a dead letter too.
MAX_BYTES = 1_048_588 - 65_536
_ERROR_LENGTH = 200


NewRow = dict[str, Any]
"""The columns of a message that is to be written."""


@dataclass(frozen=True)
class OutboxRow:
    """A claimed message: what to send, and the lease under which it may be sent."""

    id: int
    event_id: UUID
    topic: str
    key: str
    event_type: str
    value: bytes
    trace_context: dict[str, str]
    saga_id: str
    order_id: str
    created_at: datetime
    attempts: int
    lease_token: UUID
    #: The database's clock when the row was claimed.
    claimed_at: datetime
    #: The place that the broker gave the message, once it was sent.
    partition: int | None = None
    offset: int | None = None

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """Read a row of the claim."""
        return cls(**{field.name: row[field.name] for field in fields(cls)})

    @property
    def waited_s(self) -> float:
        """Seconds from the row's insert to its claim, by the database's clock."""
        return (self.claimed_at - self.created_at).total_seconds()


@dataclass(frozen=True)
class Backlog:
    """How many rows are unsent, and how long the oldest has waited, in seconds."""

    rows: int
    oldest_s: float


class Outbox:
    """The messages of one service that are to be sent.

    Args:
        database: The service's database.
        max_bytes: The largest encoded message; a larger one could never be sent, and would block its key.
        has_relay: Whether a relay of this process already sends what is added; without one, other processes are told.
        held: The types that are written at an older version; from the environment if not given.
    """

    def __init__(
        self, database: Database, *, max_bytes: int = MAX_BYTES, has_relay: bool = False, held: Held | None = None
    ) -> None:
        self._database = database
        self._max_bytes = max_bytes
        #: Set after the commit of a transaction that added a row: the relay of this process need not wait for its poll.
        self.added = asyncio.Event()
        self._has_relay = has_relay
        self._held = ContractSettings.read().held() if held is None else held

    def relay_started(self) -> None:
        """Stop announcing what is added to other processes: a relay of this process sends it."""
        self._has_relay = True

    def relay_stopped(self) -> None:
        """Announce what is added to other processes from now on."""
        self._has_relay = False

    async def add(self, connection: AsyncConnection, topic: str, message: Message) -> None:
        """Write a message, keyed by its order, with the current trace context, in the caller's transaction.

        Raises:
            MessageTooLarge: the encoded message is larger than `max_bytes`.
        """
        await self.insert(connection, [self.row_of(topic, message)])

    def row_of(self, topic: str, message: Message, context: dict[str, str] | None = None) -> NewRow:
        """Return the row of a message for `insert`, to be sent in a captured context, or the current one.

        Raises:
            MessageTooLarge: as `add`.
        """
        kept = trace_context.capture() if context is None else context
        return _row(topic, message, self._checked(message), kept)

    async def insert(self, connection: AsyncConnection, rows: Sequence[NewRow]) -> None:
        """Write rows in one statement and in their order, in the caller's transaction."""
        if rows:
            await connection.execute(_INSERT, rows)
            if not self._has_relay:
                await announce(connection)
            self._database.after_commit(connection, self.added.set)

    async def claim(self, limit: int, lease_s: float, *, besides: Collection[int] = ()) -> list[OutboxRow]:
        """Lease up to `limit` rows for `lease_s` seconds: the oldest unsent of each key, if it is due and free.

        Rows whose ids are in `besides` are left alone: a relay does not claim again what it still has in hand.
        """
        in_hand = [[row_id] for row_id in besides]
        given = {"most": limit, "lease_s": lease_s, "new_token": uuid4(), "in_hand": in_hand}
        rows = await self._database.run(_CLAIM, Write.OUTBOX_CLAIM, given)
        return sorted((OutboxRow.of(row) for row in rows), key=lambda row: row.id)

    async def mark_sent(self, connection: AsyncConnection, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        """Record in one statement that rows were sent, and return those whose lease was still ours.

        Nothing is written about a row whose lease another relay has taken.
        """
        sent = [[row.id, row.lease_token.hex, row.partition, row.offset] for row in rows]
        marked = await connection.execute(_MARK_SENT, {"sent": sent})
        ids = set(marked.scalars())
        return [row for row in rows if row.id in ids]

    async def mark_failed(self, connection: AsyncConnection, row: OutboxRow, error: str, retry_in_s: float) -> bool:
        """Give a row back, to be tried again in `retry_in_s` seconds; return False if it is not ours any more."""
        failed = {"failed_at": database_now(), "last_error": error[:_ERROR_LENGTH]}
        return await self._write_leased(connection, row, failed | {"next_attempt_at": database_time(retry_in_s)})

    async def release(self, connection: AsyncConnection, rows: Iterable[OutboxRow]) -> None:
        """Give rows back at a stop, if they are still ours and are not being settled.

        The attempt counts: the send was cut off, but the message may have been sent.
        """
        await connection.execute(update(OUTBOX).where(_is_in_hand(rows)).values(_UNLEASED))

    async def renew(self, connection: AsyncConnection, rows: Iterable[OutboxRow], lease_s: float) -> None:
        """Extend the leases of rows that are still being sent, if they are still ours."""
        await connection.execute(update(OUTBOX).where(_is_in_hand(rows)).values(leased_until=database_time(lease_s)))

    async def backlog(self, connection: AsyncConnection) -> Backlog:
        """Return how many rows are unsent, and for how long, for metrics."""
        unsent = OUTBOX.c.sent_at.is_(None)
        oldest = select(OUTBOX.c.created_at).where(unsent).order_by(OUTBOX.c.id).limit(1).scalar_subquery()
        columns = (func.count().label("rows"), oldest.label("oldest"), database_now().label("now"))
        found = (await connection.execute(select(*columns).select_from(OUTBOX).where(unsent))).one()
        return Backlog(found.rows, (found.now - found.oldest).total_seconds() if found.oldest else 0.0)

    async def prune(self, connection: AsyncConnection, retention_s: float) -> int:
        """Delete rows sent longer ago than `retention_s` seconds, and return how many."""
        old = OUTBOX.c.sent_at < database_time(-retention_s)
        return (await connection.execute(delete(OUTBOX).where(old))).rowcount

    @staticmethod
    async def _write_leased(connection: AsyncConnection, row: OutboxRow, values: dict[str, Any]) -> bool:
        """End a lease, if it is still ours; an expired one is, until another relay takes it."""
        ended = update(OUTBOX).where(_is_leased([row])).values(values | _UNLEASED)
        return (await connection.execute(ended)).rowcount == 1

    def _checked(self, message: Message) -> bytes:
        value = encode(message, self._held)
        if len(value) > self._max_bytes:
            raise MessageTooLarge(f"{message.event_type} has {len(value)} bytes, the limit is {self._max_bytes}")
        return value


_UNLEASED: dict[str, Any] = {"lease_token": None, "leased_until": None}


def _row(topic: str, message: Message, value: bytes, context: dict[str, str]) -> NewRow:
    return {
        "event_id": message.event_id,
        "topic": topic,
        "key": message.order_id,
        "event_type": message.event_type,
        "value": value,
        "trace_context": context,
        "saga_id": message.saga_id,
        "order_id": message.order_id,
    }


def _is_leased(rows: Iterable[OutboxRow]) -> ColumnElement[bool]:
    """Return the condition for rows that are still ours and unsent: a token is of one claim, a row in one at a time."""
    tokens = {row.id: row.lease_token for row in rows}
    ours = OUTBOX.c.id.in_(tokens) & OUTBOX.c.lease_token.in_(set(tokens.values()))
    return ours & OUTBOX.c.sent_at.is_(None)


def _is_in_hand(rows: Iterable[OutboxRow]) -> ColumnElement[bool]:
    """Return the condition for rows that are still ours and unlocked: to wait for one being settled could deadlock."""
    return OUTBOX.c.id.in_(select(OUTBOX.c.id).where(_is_leased(rows)).with_for_update(skip_locked=True))


def _claimable() -> ColumnElement[bool]:
    """Return the condition for rows that are unsent, due, not leased, and the oldest unsent of their key."""
    earlier = OUTBOX.alias("earlier")
    blocked = (
        select(earlier.c.id)
        .where(earlier.c.topic == OUTBOX.c.topic, earlier.c.key == OUTBOX.c.key)
        .where(earlier.c.sent_at.is_(None), earlier.c.id < OUTBOX.c.id)
        .exists()
    )
    free = OUTBOX.c.leased_until.is_(None) | (OUTBOX.c.leased_until <= database_now())
    return OUTBOX.c.sent_at.is_(None) & (OUTBOX.c.next_attempt_at <= database_now()) & free & ~blocked


def _claim() -> Executable:
    in_hand = select(*rows_of_json("in_hand", BigInteger))
    due = select(OUTBOX.c.id).where(_claimable(), OUTBOX.c.id.not_in(in_hand)).order_by(OUTBOX.c.id)
    chosen = due.limit(bindparam("most", type_=Integer)).with_for_update(skip_locked=True).cte("chosen")
    lease = {
        "lease_token": bindparam("new_token", type_=Uuid),
        "leased_until": database_time(bindparam("lease_s", type_=Float)),
        "attempts": OUTBOX.c.attempts + 1,
    }
    claim = update(OUTBOX).where(OUTBOX.c.id.in_(select(chosen.c.id))).values(lease)
    return claim.returning(OUTBOX, database_now().label("claimed_at"))


def _mark_sent() -> Executable:
    row_id, token, partition, offset = rows_of_json("sent", BigInteger, Uuid, Integer, BigInteger)
    place = {"sent_at": database_now(), "partition": partition, "offset": offset, "last_error": None}
    ours = (OUTBOX.c.id == row_id) & (OUTBOX.c.lease_token == token) & OUTBOX.c.sent_at.is_(None)
    return update(OUTBOX).where(ours).values(place | _UNLEASED).returning(OUTBOX.c.id)


# To build a statement costs more than to execute it, so those that are executed for each message are built once. Lists
# are JSON: then the text of the statement, by which the server caches its plan, is the same for any number of rows.
_INSERT = insert(OUTBOX).values(created_at=database_now(), next_attempt_at=database_now(), attempts=0)
_CLAIM = _claim()
_MARK_SENT = _mark_sent()
