"""What an operator does about a group's dead letters, in the service's database: each act with who, when and why.

Rows are opened and closed by the consumer (`DeadLetterLedger`). An operator's run notes a re-drive before it sends, so
that two runs at the same time send a letter once; a send that failed takes the note back.
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
    #: A re-drive that was noted, and whose send failed.
    TAKEN_BACK = "taken back"
    DISCARD = "discard"
    RESUME = "resume"


@dataclass(frozen=True)
class Attribution:
    """Who does it and why, in which run."""

    actor: str
    run_id: UUID
    reason: str | None = None


@dataclass(frozen=True)
class DeadLetterRow:
    """A dead letter's row."""

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

    async def entries(self) -> Mapping[Place, DeadLetterRow]:
        """Read all rows by origin, in the order in which the records came.

        Raises:
            Unavailable: the database is away.
        """
        query = select(DEAD_LETTERS).where(DEAD_LETTERS.c.consumer_group == self._group).order_by(DEAD_LETTERS.c.id)
        async with self._database.reading() as connection:
            entries = [_entry(row) for row in await connection.execute(query)]
        return {entry.origin: entry for entry in entries}

    async def begin_redrive(self, letter: DeadLetter, act: Attribution, *, force: bool = False) -> bool:
        """Note that a letter is being sent; False if it is closed, under way or not the newest of its record any more.

        Then nothing is written. A letter without a row gets one: whoever wrote it, it is under way from now on.

        Raises:
            Unavailable: the database is away.
        """
        origin = _origin(letter)
        # What failed once more since the operator's reading has been re-driven more often than the letter says.
        waits = DEAD_LETTERS.c.redriven_at.is_(None) & (DEAD_LETTERS.c.redrives == letter.redrive_count)
        under_way = DEAD_LETTERS.c.redriven_at.is_not(None) & (DEAD_LETTERS.c.redrives == letter.redrive_count + 1)
        free = DEAD_LETTERS.c.closed_at.is_(None) & (waits | under_way if force else waits)
        sent = {"redriven_at": database_now(), "redrives": letter.redrive_count + 1}
        async with self._database.transaction(Write.REDRIVE_BEGUN) as connection:
            if not await insert_once(connection, DEAD_LETTERS, **self._row_of(letter, origin) | sent):
                updated = await connection.execute(update(DEAD_LETTERS).where(self._is(origin) & free).values(sent))
                if updated.rowcount != 1:
                    return False
            await self._note(connection, Action.REDRIVE, act, origin)
        return True

    async def take_back(self, letter: DeadLetter, act: Attribution) -> None:
        """Note that a letter was not sent after all, in the run that said it would be.

        Raises:
            Unavailable: the database is away.
        """
        back = {"redriven_at": None, "redrives": letter.redrive_count}
        origin = _origin(letter)
        async with self._database.transaction(Write.REDRIVE_TAKEN_BACK) as connection:
            await connection.execute(update(DEAD_LETTERS).where(self._is(origin)).values(back))
            await self._note(connection, Action.TAKEN_BACK, act, origin)

    async def discard(self, letter: DeadLetter, act: Attribution) -> bool:
        """Close a letter for good; False if it is closed already.

        Raises:
            ValueError: it has no reason.
            Unavailable: the database is away.
        """
        if not act.reason:
            raise ValueError("what is discarded needs a reason")
        origin = _origin(letter)
        closed = {"closed_at": database_now(), "outcome": "discarded"}
        async with self._database.transaction(Write.DISCARD) as connection:
            if not await insert_once(connection, DEAD_LETTERS, **self._row_of(letter, origin), **closed):
                is_open = self._is(origin) & DEAD_LETTERS.c.closed_at.is_(None)
                updated = await connection.execute(update(DEAD_LETTERS).where(is_open).values(closed))
                if updated.rowcount != 1:
                    return False
            await self._note(connection, Action.DISCARD, act, origin)
        return True

    async def resume(self, act: Attribution) -> bool:
        """Close the group's breaker, which its members notice within a second; False if it is not open.

        Raises:
            Unavailable: the database is away.
        """
        async with self._database.transaction(Write.RESUME) as connection:
            ours = BREAKERS.c.consumer_group == self._group
            if (await connection.execute(delete(BREAKERS).where(ours))).rowcount != 1:
                return False
            await self._note(connection, Action.RESUME, act, None)
        return True

    async def acts(self) -> Sequence[RowMapping]:
        """Read what was done about the group's letters, oldest first.

        Raises:
            Unavailable: the database is away.
        """
        of_group = DEAD_LETTER_ACTIONS.c.consumer_group == self._group
        query = select(DEAD_LETTER_ACTIONS).where(of_group).order_by(DEAD_LETTER_ACTIONS.c.id)
        async with self._database.reading() as connection:
            return (await connection.execute(query)).mappings().all()

    async def _note(self, connection: AsyncConnection, action: Action, act: Attribution, origin: Place | None) -> None:
        place = (
            {} if origin is None else {"topic": origin.topic, "partition": origin.partition, "offset": origin.offset}
        )
        who = {"actor": act.actor[:200], "run_id": act.run_id, "reason": act.reason and act.reason[:500]}
        values = {"consumer_group": self._group, "action": action, "at": database_now(), **who, **place}
        await connection.execute(insert(DEAD_LETTER_ACTIONS).values(values))

    def _row_of(self, letter: DeadLetter, origin: Place) -> dict[str, Any]:
        return {
            "consumer_group": self._group,
            "topic": origin.topic,
            "partition": origin.partition,
            "offset": origin.offset,
            "key_digest": key_digest(letter.key),
            "state": letter.state or DeadLetterState.FAILED,
            "error_type": (letter.error_type or "").replace("\0", "")[:512],
            "failed_at": letter.failed_at or database_now(),
            "redrives": letter.redrive_count,
        }

    def _is(self, origin: Place) -> ColumnElement[bool]:
        return row_of(self._group, origin)


def _origin(letter: DeadLetter) -> Place:
    return letter.origin or letter.at


def _entry(row: Row[Any]) -> DeadLetterRow:
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
