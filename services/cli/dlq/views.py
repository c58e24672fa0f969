"""`sagatrace dlq list` and `show`: what is in the dead-letter topics, and the status of each dead letter."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.cli.dlq import rendering
from services.cli.dlq.contents import GroupContents, read_contents
from services.cli.dlq.filters import DeadLetterFilter
from services.cli.dlq.groups import Group
from services.cli.dlq.reader import MessageSummary, UnreadableTopic, read_dead_letters
from services.cli.errors import CannotRun
from services.cli.formatting import document
from services.cli.jaeger import Jaeger
from services.cli.settings import JaegerSettings
from services.cli.stores import open_store
from services.messaging.breaker import BreakerRow
from services.messaging.dead_letters import DeadLetter, DeadLetterOperator, DeadLetterRow, newest_by_origin


def show_list(groups: Sequence[Group], chosen: DeadLetterFilter, limit: int, *, every: bool, as_json: bool) -> None:
    """Print the chosen dead letters of groups: the open ones, or all.

    Raises:
        UnreadableTopic: a group's topic can't be read; the other groups are printed first.
        CannotRun: the broker or a database is unavailable.
    """
    documents: list[dict[str, Any]] = []
    faults: list[str] = []
    for group in groups:
        try:
            contents, stopped = asyncio.run(_read_list(group, closed=every))
        except UnreadableTopic as fault:
            faults.append(str(fault))
            continue
        found = list(_listed(contents, chosen))
        documents += [rendering.fields(*one) | {"group": group.value, "stopped": stopped} for one in found[:limit]]
        if not as_json:
            print(f"{group}: {len(found)} dead letter{'' if len(found) == 1 else 's'}")
            if stopped:
                print(f"  stopped: {stopped}; `sagatrace dlq resume {group}` lets it go on")
            if found:
                print(rendering.lines(found[:limit]))
            if len(found) > limit:
                print(f"and {len(found) - limit} more: see --limit")
    if as_json and len(faults) < len(groups):
        print(document(documents))
    if faults:
        raise UnreadableTopic("; ".join(faults))


def _listed(contents: GroupContents, chosen: DeadLetterFilter) -> Iterator[tuple[DeadLetter, MessageSummary, str]]:
    """Yield the chosen dead letters, each with its summary and its status."""
    topic, rows = contents.topic, contents.rows
    for dead_letter in newest_by_origin(topic.dead_letters):
        summary = topic.summaries[dead_letter.at]
        if chosen(dead_letter, summary):
            row = rows.get(dead_letter.origin or dead_letter.at)
            yield dead_letter, summary, rendering.status_of(dead_letter, row)


def show_one(group: Group, at: tuple[int, int], jaeger: str, *, value: bool, as_json: bool) -> None:
    """Print one dead letter; its payload only if `value`.

    Raises:
        CannotRun: there is no such dead letter, or the broker or the database is unavailable.
    """
    dead_letter, summary, row, actions = asyncio.run(_read_one(group, at))
    fields = rendering.fields(dead_letter, summary, rendering.status_of(dead_letter, row))
    details = rendering.details(dead_letter, actions, value=value)
    link = Jaeger(jaeger, JaegerSettings.read().page).page(fields["trace_id"]) if fields["trace_id"] else None
    print(document(fields | details | {"jaeger": link}) if as_json else rendering.page(fields, details, link))


async def _read_list(group: Group, *, closed: bool) -> tuple[GroupContents, str | None]:
    """Read what a list shows, and why the group has stopped, if it has."""
    async with open_store(group.service) as database:
        contents = await read_contents(group, DeadLetterOperator(database, group), closed=closed)
        trip = await BreakerRow(database, group).read()
        return contents, trip.reason if trip else None


async def _read_one(
    group: Group, at: tuple[int, int]
) -> tuple[DeadLetter, MessageSummary, DeadLetterRow | None, Sequence[Mapping[str, Any]]]:
    """Read one dead letter with its value, its row, and what was done about it."""
    topic = await read_dead_letters(
        group, wanted=lambda record: (record.partition, record.offset) == at, keep_value=lambda *_: True
    )
    if not topic.dead_letters:
        raise CannotRun(
            f"there is no dead letter at {at[0]}:{at[1]} of {group}: see `sagatrace dlq list {group} --all`"
        )
    (dead_letter,) = topic.dead_letters
    origin = dead_letter.origin or dead_letter.at
    async with open_store(group.service) as database:
        operator = DeadLetterOperator(database, group)
        actions = [{str(name): value for name, value in row.items()} for row in await operator.actions(origin)]
        row = await operator.row(origin)
    return dead_letter, topic.summaries[dead_letter.at], row, actions
