"""The dead letters of a group in the service's database: which are open, and which keys they park.

A row is a dead letter, identified by its origin. It is open until the record has been processed after all, or was
discarded. A key is parked while one of its rows is open; what comes for it then waits behind the oldest (`standing`).

The open keys are kept in memory, so that a record of another key costs no query. What this member writes is there at
once, and what another member writes a second later. That is enough: the records of a key in one topic come to one
member, which reads the keys again at each assignment (`forget`). Between two topics Kafka promises no order.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from opentelemetry import metrics
from sqlalchemy import ColumnElement, Row, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts import Message
from services.messaging import semconv
from services.messaging.crash_points import Write
from services.messaging.dead_letters.headers import Place
from services.messaging.dead_letters.parking import FREE, Burial, Standing
from services.messaging.storage import DEAD_LETTER_ACTIONS, DEAD_LETTERS, Database, database_now, insert_once
from tracing.semconv import MESSAGING_CONSUMER_GROUP_NAME

Answer = Callable[[AsyncConnection, Message], Awaitable[None]]
"""Answers a message that became a dead letter, in the transaction of its row."""

# How old the open keys in memory may be.
_FRESH_S = 1.0
_TYPE_LENGTH = 64


class DeadLetterLedger:
    """The rows of one group.

    Args:
        database: The service's database.
        group: The consumer group.
        answer: Answers a message when it first becomes a dead letter.
    """

    def __init__(self, database: Database, group: str, answer: Answer | None = None) -> None:
        self._database = database
        self._group = group
        self._answer = answer
        self._open: set[bytes] | None = None
        self._read_at = 0.0
        self._reading = asyncio.Lock()
        self._parked = metrics.get_meter(semconv.SCOPE_MESSAGING).create_gauge(semconv.PARKED_KEYS, unit=semconv.KEYS)

    def forget(self) -> None:
        """Read the open keys again before the next record: other partitions were assigned."""
        self._open = None

    async def standing(self, key: bytes | None, origin: Place, *, redriven: bool) -> Standing:
        """Return whether a record may be handled now.

        A re-driven record is done once its row is closed. A record from its own topic is done while its row is open:
        it is a dead letter, and comes again only because its offset was not committed.

        Raises:
            Unavailable: the database is away.
        """
        digest = key_digest(key)
        if not redriven and not await self._may_be_parked(digest):
            return FREE
        async with self._database.reading() as connection:
            own = await self._row(connection, self._is(origin))
            oldest = None
            if digest is not None:
                of_key = (DEAD_LETTERS.c.key_digest == digest) & DEAD_LETTERS.c.closed_at.is_(None)
                oldest = await self._row(connection, self._of_group() & of_key)
        if own is not None and (own.closed_at is not None) is redriven:
            return Standing(is_done=True)
        return FREE if oldest is None or _place(oldest) == origin else Standing(behind=_place(oldest))

    async def is_skipped(self, place: Place) -> bool:
        """Return whether an operator lets the group pass a record by that it can't read.

        Raises:
            Unavailable: the database is away.
        """
        columns = DEAD_LETTER_ACTIONS.c
        is_place = (columns.topic == place.topic) & (columns.partition == place.partition)
        ours = (columns.consumer_group == self._group) & (columns.action == "skip")
        query = select(exists().where(ours & is_place & (columns.offset == place.offset)))
        async with self._database.reading() as connection:
            return bool((await connection.execute(query)).scalar_one())

    async def bury(self, burial: Burial) -> None:
        """Open a record's row, or write the new failure into it; answer the message if the row is new.

        Raises:
            Unavailable: the database is away.
        """
        digest = key_digest(burial.key)
        failure = {
            "key_digest": digest,
            "state": burial.state,
            "error_type": burial.error_type,
            "failed_at": database_now(),
            "redrives": burial.redrives,
            "redriven_at": None,
            "closed_at": None,
            "outcome": None,
        }
        async with self._database.transaction(Write.DEAD_LETTER_ROW) as connection:
            place = {"topic": burial.origin.topic, "partition": burial.origin.partition, "offset": burial.origin.offset}
            known = {"consumer_group": self._group, **place, **_about(burial.message)}
            if not await insert_once(connection, DEAD_LETTERS, **known, **failure):
                await connection.execute(update(DEAD_LETTERS).where(self._is(burial.origin)).values(failure))
            elif burial.message is not None and self._answer is not None:
                await self._answer(connection, burial.message)
        async with self._reading:
            if digest is not None and self._open is not None:
                self._open.add(digest)

    async def close(self, origin: Place) -> None:
        """Close the row of a record that was processed after all, if there is one.

        Raises:
            Unavailable: the database is away.
        """
        processed = {"closed_at": database_now(), "outcome": "processed"}
        is_open = self._is(origin) & DEAD_LETTERS.c.closed_at.is_(None)
        async with self._database.transaction(Write.DEAD_LETTER_CLOSED) as connection:
            await connection.execute(update(DEAD_LETTERS).where(is_open).values(processed))

    async def _may_be_parked(self, digest: bytes | None) -> bool:
        # Under the lock, a read that began before a row was written can't hide that row.
        async with self._reading:
            if self._open is None or time.monotonic() - self._read_at > _FRESH_S:
                parked = DEAD_LETTERS.c.closed_at.is_(None) & DEAD_LETTERS.c.key_digest.is_not(None)
                query = select(DEAD_LETTERS.c.key_digest).where(self._of_group(), parked).distinct()
                self._read_at = time.monotonic()
                async with self._database.reading() as connection:
                    self._open = set((await connection.execute(query)).scalars())
                self._parked.set(len(self._open), {MESSAGING_CONSUMER_GROUP_NAME: self._group})
            return digest in self._open

    async def _row(self, connection: AsyncConnection, which: ColumnElement[bool]) -> Row[Any] | None:
        query = select(DEAD_LETTERS).where(which).order_by(DEAD_LETTERS.c.id).limit(1)
        return (await connection.execute(query)).one_or_none()

    def _of_group(self) -> ColumnElement[bool]:
        return DEAD_LETTERS.c.consumer_group == self._group

    def _is(self, origin: Place) -> ColumnElement[bool]:
        return row_of(self._group, origin)


def key_digest(key: bytes | None) -> bytes | None:
    """Return the SHA-256 of a key, which stands for a key of any size; None for a record without one."""
    return None if key is None else hashlib.sha256(key).digest()


def row_of(group: str, origin: Place) -> ColumnElement[bool]:
    """Return the condition for the row of this origin in this group."""
    columns = DEAD_LETTERS.c
    place = (columns.topic == origin.topic) & (columns.partition == origin.partition)
    return (columns.consumer_group == group) & place & (columns.offset == origin.offset)


def _place(row: Row[Any]) -> Place:
    return Place(row.topic, row.partition, row.offset)


def _about(message: Message | None) -> dict[str, UUID | str]:
    if message is None:
        return {}
    # A type that is not known here may be any text; the row must be written all the same.
    kind = message.event_type.encode("ascii", "backslashreplace").decode().replace("\0", "")[:_TYPE_LENGTH]
    return {"event_id": message.event_id, "event_type": kind, "order_id": message.order_id}
