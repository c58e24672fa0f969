"""`sagatrace dlq list` and `show`: what is in the dead-letter topics, and the status of each dead letter."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.cli.dlq import rendering
from services.cli.dlq.filters import DeadLetterFilter
from services.cli.dlq.groups import Group
from services.cli.dlq.reader import MessageSummary, Predicate, TopicContents, UnreadableTopic, read_dead_letters
from services.cli.errors import CannotRun
from services.cli.formatting import document
from services.cli.jaeger import Jaeger
from services.cli.stores import open_store
from services.messaging.breaker import BreakerRow
from services.messaging.dead_letters import DeadLetter, DeadLetterOperator, DeadLetterRow, Place, newest_by_origin


@dataclass(frozen=True)
class _StoredState:
    """What a service's database holds about a group's dead letters."""

    rows: Mapping[Place, DeadLetterRow]
    actions: Sequence[Mapping[str, Any]]
    #: Why the group has stopped, if it has.
    stopped: str | None


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
            topic, stored = asyncio.run(_read(group, lambda *_: False))
        except UnreadableTopic as fault:
            faults.append(str(fault))
            continue
        found = list(_listed(topic, stored, chosen, every=every))
        documents += [
            rendering.fields(*one) | {"group": group.value, "stopped": stored.stopped} for one in found[:limit]
        ]
        if not as_json:
            print(f"{group}: {len(found)} dead letter{'' if len(found) == 1 else 's'}")
            if stored.stopped:
                print(f"  stopped: {stored.stopped}; `sagatrace dlq resume {group}` lets it go on")
            if found:
                print(rendering.lines(found[:limit]))
            if len(found) > limit:
                print(f"and {len(found) - limit} more: see --limit")
    if as_json and len(faults) < len(groups):
        print(document(documents))
    if faults:
        raise UnreadableTopic("; ".join(faults))


def _listed(
    topic: TopicContents, stored: _StoredState, chosen: DeadLetterFilter, *, every: bool
) -> Iterator[tuple[DeadLetter, MessageSummary, str]]:
    """Yield the chosen dead letters, each with its summary and its status."""
    for dead_letter in newest_by_origin(topic.dead_letters):
        row, summary = stored.rows.get(dead_letter.origin or dead_letter.at), topic.summaries[dead_letter.at]
        is_open = row is None or row.closed_at is None
        if (every or is_open) and chosen(dead_letter, summary):
            yield dead_letter, summary, rendering.status_of(dead_letter, row)


def show_one(group: Group, at: tuple[int, int], jaeger: str, *, value: bool, as_json: bool) -> None:
    """Print one dead letter; its payload only if `value`.

    Raises:
        CannotRun: there is no such dead letter, or the broker or the database is unavailable.
    """
    only = DeadLetterFilter(offsets=(at,))
    topic, stored = asyncio.run(_read(group, only if value else lambda *_: False))
    dead_letter = next((one for one in topic.dead_letters if only(one, topic.summaries[one.at])), None)
    if dead_letter is None:
        raise CannotRun(
            f"there is no dead letter at {at[0]}:{at[1]} of {group}: see `sagatrace dlq list {group} --all`"
        )
    origin = dead_letter.origin or dead_letter.at
    place = origin.topic, origin.partition, origin.offset
    actions = [one for one in stored.actions if (one["topic"], one["partition"], one["offset"]) == place]
    status = rendering.status_of(dead_letter, stored.rows.get(origin))
    fields = rendering.fields(dead_letter, topic.summaries[dead_letter.at], status)
    details = rendering.details(dead_letter, actions, value=value)
    link = Jaeger(jaeger).page(fields["trace_id"]) if fields["trace_id"] else None
    print(document(fields | details | {"jaeger": link}) if as_json else rendering.page(fields, details, link))


async def _read(group: Group, keep_value: Predicate) -> tuple[TopicContents, _StoredState]:
    topic = await read_dead_letters(group, keep_value=keep_value)
    async with open_store(group.service) as database:
        operator = DeadLetterOperator(database, group)
        actions = [{str(name): value for name, value in row.items()} for row in await operator.actions()]
        trip = await BreakerRow(database, group).read()
        return topic, _StoredState(await operator.rows(), actions, trip.reason if trip else None)
