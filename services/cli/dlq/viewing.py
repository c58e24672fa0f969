"""`sagatrace dlq list` and `show`: what is in the dead-letter topics, and how each letter stands."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.cli.dlq import rendering
from services.cli.dlq.choice import Choice
from services.cli.dlq.groups import Group
from services.cli.dlq.reader import About, Chosen, Letters, UnreadableTopic, read_letters
from services.cli.errors import CannotRun
from services.cli.jaeger import Jaeger
from services.cli.rows import document
from services.cli.stores import open_store
from services.messaging.breaker import BreakerRow
from services.messaging.dead_letters import DeadLetter, DeadLetterOperator, DeadLetterRow, Place, newest_by_origin


@dataclass(frozen=True)
class _Known:
    """What a service's database says of a group's letters."""

    entries: Mapping[Place, DeadLetterRow]
    acts: Sequence[Mapping[str, Any]]
    #: Why the group has stopped, if it has.
    stopped: str | None


def show_list(groups: Sequence[Group], choice: Choice, limit: int, *, every: bool, as_json: bool) -> None:
    """Print the chosen letters of groups: the open ones, or all.

    Raises:
        Unreadable: a group has a letter that can't be read; all other groups are shown before.
        CannotRun: the broker or a database is away.
    """
    documents: list[dict[str, Any]] = []
    faults: list[str] = []
    for group in groups:
        try:
            letters, known = asyncio.run(_letters(group, lambda *_: False))
        except UnreadableTopic as fault:
            faults.append(str(fault))
            continue
        found = list(_listed(letters, known, choice, every=every))
        documents += [
            rendering.fields(*one) | {"group": group.value, "stopped": known.stopped} for one in found[:limit]
        ]
        if not as_json:
            print(f"{group}: {len(found)} dead letter{'' if len(found) == 1 else 's'}")
            if known.stopped:
                print(f"  stopped: {known.stopped}; `sagatrace dlq resume {group}` lets it go on")
            if found:
                print(rendering.lines(found[:limit]))
            if len(found) > limit:
                print(f"and {len(found) - limit} more: see --limit")
    if as_json and len(faults) < len(groups):
        print(document(documents))
    if faults:
        raise UnreadableTopic("; ".join(faults))


def _listed(letters: Letters, known: _Known, choice: Choice, *, every: bool) -> Iterator[tuple[DeadLetter, About, str]]:
    """Give the letters that are meant, each with what it is about and how it stands."""
    for letter in newest_by_origin(letters.letters):
        entry, about = known.entries.get(letter.origin or letter.at), letters.about[letter.at]
        is_open = entry is None or entry.closed_at is None
        if (every or is_open) and choice(letter, about):
            yield letter, about, rendering.status_of(letter, entry)


def show_one(group: Group, at: tuple[int, int], jaeger: str, *, value: bool, as_json: bool) -> None:
    """Print one letter; its payload only if `value`.

    Raises:
        CannotRun: there is no such letter, or the broker or the database is away.
    """
    only = Choice(offsets=(at,))
    letters, known = asyncio.run(_letters(group, only if value else lambda *_: False))
    letter = next((one for one in letters.letters if only(one, letters.about[one.at])), None)
    if letter is None:
        raise CannotRun(
            f"there is no dead letter at {at[0]}:{at[1]} of {group}: see `sagatrace dlq list {group} --all`"
        )
    origin = letter.origin or letter.at
    acts = [act for act in known.acts if (act["topic"], act["partition"], act["offset"]) == _place(origin)]
    status = rendering.status_of(letter, known.entries.get(origin))
    told = rendering.fields(letter, letters.about[letter.at], status)
    shown = rendering.details(letter, acts, value=value)
    link = Jaeger(jaeger).page(told["trace_id"]) if told["trace_id"] else None
    print(document(told | shown | {"jaeger": link}) if as_json else rendering.page(told, shown, link))


async def _letters(group: Group, keeps_value: Chosen) -> tuple[Letters, _Known]:
    letters = await read_letters(group, keeps_value=keeps_value)
    async with open_store(group.service) as database:
        desk = DeadLetterOperator(database, group)
        acts = [{str(name): value for name, value in act.items()} for act in await desk.acts()]
        trip = await BreakerRow(database, group).read()
        return letters, _Known(await desk.entries(), acts, trip.reason if trip else None)


def _place(origin: Place) -> tuple[str, int, int]:
    return origin.topic, origin.partition, origin.offset
