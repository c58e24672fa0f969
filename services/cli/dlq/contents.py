"""A group's dead letters: the records of its topic, and their rows in the database of its service.

The topic keeps every record, so most of what it holds after a while is closed. A record whose row is closed is skipped
as soon as its origin is read: it is not parsed and not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.cli.dlq.groups import Group
from services.cli.dlq.reader import Predicate, TopicContents, read_dead_letters
from services.messaging.dead_letters import DeadLetterOperator, DeadLetterRow, Place, place_of


@dataclass(frozen=True)
class GroupContents:
    """What a group's topic and its rows hold."""

    topic: TopicContents
    #: By origin; a dead letter without a row is open.
    rows: Mapping[Place, DeadLetterRow]


async def read_contents(
    group: Group, operator: DeadLetterOperator, *, closed: bool = False, keep_value: Predicate = lambda *_: False
) -> GroupContents:
    """Read a group's open dead letters, and the closed ones as well if `closed`.

    The rows are read first. What is closed meanwhile still looks open; `DeadLetterOperator` refuses to act on it.

    Raises:
        CannotRun: see `read_dead_letters`.
        Unavailable: the database is away.
    """
    rows, skipped = await operator.rows(closed=closed), frozenset[Place]()
    if not closed:
        skipped = await operator.closed_places()
    topic = await read_dead_letters(group, wanted=lambda record: place_of(record) not in skipped, keep_value=keep_value)
    return GroupContents(topic, rows)
