"""What an operator does about a group's dead letters, in the service's database: each action with who, when and why.

The consumer opens and closes the rows (`DeadLetterLedger`). An operator's run records a re-drive before it sends, so
that two runs at the same time send a dead letter once. A send that failed takes the record back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, RowMapping, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.messaging.crash_points import Write
from services.messaging.dead_letters.headers import DeadLetter, DeadLetterState, Place
from services.messaging.dead_letters.ledger import key_digest, row_of
from services.messaging.storage import BREAKERS, DEAD_LETTER_ACTIONS, DEAD_LETTERS, Database, database_now, insert_once


class Action(StrEnum):
    """What an operator can do."""

    REDRIVE = "redrive"
    #: A re-drive that was recorded, and whose send failed.
    TAKEN_BACK = "taken back"
    DISCARD = "discard"
    RESUME = "resume"
    #: A record that the client can't read is passed by; the consumer looks for it (`DeadLetterLedger.is_skipped`).
    SKIP = "skip"


@dataclass(frozen=True)
class Attribution:
    """Who acts, why, and in which run."""

    actor: str
    run_id: UUID
    reason: str | None = None


@dataclass(frozen=True)
class DeadLetterRow:
    """The row of a dead letter."""

    origin: Place
    state: DeadLetterState
    error_type: str
    event_type: str | None
    order_id: str | None
    failed_at: datetime
    redrives: int
    redriven_at: datetime | None
    closed_at: datetime | None
    #: `processed` or `discarded`, once it is closed.
    outcome: str | None


class DeadLetterOperator:
    """The dead letters of one group, for an operator.

    Args:
        database: The service's database.
        group: The consumer group.
    """

    def __init__(self, database: Database, group: str) -> None:
        self._database = database
        self._group = group

    async def rows(self, *, closed: bool = True) -> Mapping[Place, DeadLetterRow]:
        """Return the rows by origin, in the order in which the records came; only the open ones if not `closed`.

        Raises:
            Unavailable: the database is away.
        """
        query = select(DEAD_LETTERS).where(DEAD_LETTERS.c.consumer_group == self._group).order_by(DEAD_LETTERS.c.id)
        if not closed:
            query = query.where(DEAD_LETTERS.c.closed_at.is_(None))
        async with self._database.reading() as connection:
            rows = [_dead_letter_row(row) for row in await connection.execute(query)]
        return {row.origin: row for row in rows}

    async def row(self, origin: Place) -> DeadLetterRow | None:
        """Return the row of one origin; None if there is none.

        Raises:
            Unavailable: the database is away.
        """
        async with self._database.reading() as connection:
            row = (await connection.execute(select(DEAD_LETTERS).where(self._is(origin)))).one_or_none()
        return None if row is None else _dead_letter_row(row)

    async def closed_places(self) -> frozenset[Place]:
        """Return the origins of the closed dead letters.

        Raises:
            Unavailable: the database is away.
        """
        columns = DEAD_LETTERS.c
        place = select(columns.topic, columns.partition, columns.offset)
        query = place.where(columns.consumer_group == self._group, columns.closed_at.is_not(None))
        async with self._database.reading() as connection:
            return frozenset(Place(*row) for row in await connection.execute(query))

    async def begin_redrive(self, dead_letter: DeadLetter, by: Attribution, *, force: bool = False) -> bool:
        """Record that a dead letter is being sent; return False, and write nothing, if it must not be.

        That is so if it is closed, under way, or no longer the newest of its record. A dead letter without a row gets
        one: from now on it is under way.

        Raises:
            Unavailable: the database is away.
        """
        origin = _origin(dead_letter)
        # What failed again since the operator read the topic has been re-driven more often than the dead letter says.
        waits = DEAD_LETTERS.c.redriven_at.is_(None) & (DEAD_LETTERS.c.redrives == dead_letter.redrive_count)
        under_way = DEAD_LETTERS.c.redriven_at.is_not(None) & (DEAD_LETTERS.c.redrives == dead_letter.redrive_count + 1)
        free = DEAD_LETTERS.c.closed_at.is_(None) & (waits | under_way if force else waits)
        sent = {"redriven_at": database_now(), "redrives": dead_letter.redrive_count + 1}
        async with self._database.transaction(Write.REDRIVE_BEGUN) as connection:
            if not await insert_once(connection, DEAD_LETTERS, **self._row_of(dead_letter, origin) | sent):
                updated = await connection.execute(update(DEAD_LETTERS).where(self._is(origin) & free).values(sent))
                if updated.rowcount != 1:
                    return False
            await self._record(connection, Action.REDRIVE, by, origin)
        return True

    async def take_back(self, dead_letter: DeadLetter, by: Attribution) -> None:
        """Record that a dead letter was not sent after all, in the run that had recorded its send.

        Raises:
            Unavailable: the database is away.
        """
        back = {"redriven_at": None, "redrives": dead_letter.redrive_count}
        origin = _origin(dead_letter)
        async with self._database.transaction(Write.REDRIVE_TAKEN_BACK) as connection:
            await connection.execute(update(DEAD_LETTERS).where(self._is(origin)).values(back))
            await self._record(connection, Action.TAKEN_BACK, by, origin)

    async def discard(self, dead_letter: DeadLetter, by: Attribution) -> bool:
        """Close a dead letter for good; return False if it is closed already.

        Raises:
            ValueError: there is no reason.
            Unavailable: the database is away.
        """
        if not by.reason:
            raise ValueError("what is discarded needs a reason")
        origin = _origin(dead_letter)
        closed = {"closed_at": database_now(), "outcome": "discarded"}
        async with self._database.transaction(Write.DISCARD) as connection:
            if not await insert_once(connection, DEAD_LETTERS, **self._row_of(dead_letter, origin), **closed):
                is_open = self._is(origin) & DEAD_LETTERS.c.closed_at.is_(None)
                updated = await connection.execute(update(DEAD_LETTERS).where(is_open).values(closed))
                if updated.rowcount != 1:
                    return False
            await self._record(connection, Action.DISCARD, by, origin)
        return True

    async def resume(self, by: Attribution) -> bool:
        """Close the group's breaker, which its members notice within a second; return False if it is not open.

        Raises:
            Unavailable: the database is away.
        """
        async with self._database.transaction(Write.RESUME) as connection:
            ours = BREAKERS.c.consumer_group == self._group
            if (await connection.execute(delete(BREAKERS).where(ours))).rowcount != 1:
                return False
            await self._record(connection, Action.RESUME, by, None)
        return True

    async def skip(self, place: Place, by: Attribution) -> None:
        """Record that the group is to pass a record by that it can't read; its member notices within a second.

        Raises:
            Unavailable: the database is away.
        """
        async with self._database.transaction(Write.SKIP) as connection:
            await self._record(connection, Action.SKIP, by, place)

    async def actions(self, origin: Place | None = None) -> Sequence[RowMapping]:
        """Return what was done about the group's dead letters, or about the one of this origin, oldest first.

        Raises:
            Unavailable: the database is away.
        """
        columns = DEAD_LETTER_ACTIONS.c
        query = select(DEAD_LETTER_ACTIONS).where(columns.consumer_group == self._group).order_by(columns.id)
        if origin is not None:
            place = (columns.topic == origin.topic) & (columns.partition == origin.partition)
            query = query.where(place & (columns.offset == origin.offset))
        async with self._database.reading() as connection:
            return (await connection.execute(query)).mappings().all()

    async def _record(self, connection: AsyncConnection, action: Action, by: Attribution, origin: Place | None) -> None:
        place = (
            {} if origin is None else {"topic": origin.topic, "partition": origin.partition, "offset": origin.offset}
        )
        who = {"actor": by.actor[:200], "run_id": by.run_id, "reason": by.reason and by.reason[:500]}
        values = {"consumer_group": self._group, "action": action, "at": database_now(), **who, **place}
        await connection.execute(insert(DEAD_LETTER_ACTIONS).values(values))

    def _row_of(self, dead_letter: DeadLetter, origin: Place) -> dict[str, Any]:
        return {
            "consumer_group": self._group,
            "topic": origin.topic,
            "partition": origin.partition,
            "offset": origin.offset,
            "key_digest": key_digest(dead_letter.key),
            "state": dead_letter.state or DeadLetterState.FAILED,
            "error_type": (dead_letter.error_type or "").replace("\0", "")[:512],
            "failed_at": dead_letter.failed_at or database_now(),
            "redrives": dead_letter.redrive_count,
        }

    def _is(self, origin: Place) -> ColumnElement[bool]:
        return row_of(self._group, origin)


def _origin(dead_letter: DeadLetter) -> Place:
    return dead_letter.origin or dead_letter.at


def _dead_letter_row(row: Row[Any]) -> DeadLetterRow:
    return DeadLetterRow(
        origin=Place(row.topic, row.partition, row.offset),
        state=DeadLetterState(row.state),
        error_type=row.error_type,
        event_type=row.event_type,
        order_id=row.order_id,
        failed_at=row.failed_at,
        redrives=row.redrives,
        redriven_at=row.redriven_at,
        closed_at=row.closed_at,
        outcome=row.outcome,
    )
