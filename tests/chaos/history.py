"""Whether what was recorded of an order is a legal history of its saga: an append-only check as Jepsen does it; pure.

Every event is an append of a unique id to its order's list, by any of the writers that move the saga; the audit trail
is the read. A read is legal if the writers could have written it one after the other by the saga's table:

- no id is there twice, and in each topic the order of the records is the order of the saga's versions;
- there is a way through the table, from `new` to an end, on which the move to version v says exactly the events that
  bear the number v. Moves that say nothing leave no mark, so the checker follows all ways at the same time, as one
  follows a nondeterministic automaton;
- the end is the one that the saga's row shows.

The saga's own log has more in it, every move by name: `check_moves` looks whether each follows from the one before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from services.oms.saga import COMMANDS, ENDS, TABLE, Effect, Input, Move, SagaState


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event of one order in the audit trail."""

    topic: str
    offset: int
    event_id: str
    event_type: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A line of a saga's own log that records a move."""

    version: int
    moved_by: str
    state_from: str
    state: str


def check_trail(trail: Iterable[Recorded], end: SagaState) -> list[str]:
    """Return what makes the trail of one order illegal, for a saga whose row shows `end`; nothing if it is legal."""
    events = tuple(trail)
    return [*_repeated(events), *_out_of_order(events), *_untold(events, end)]


def check_moves(log: Sequence[Moved], end: SagaState) -> list[str]:
    """Return what makes a saga's own log illegal, for a saga whose row shows `end`; nothing if it is legal."""
    faults = []
    state, version = SagaState.NEW, 0
    for moved in log:
        move = TABLE.get((state, Input(moved.moved_by)))
        if moved.version != version + 1:
            faults.append(f"version {moved.version} comes after {version}")
        if moved.state_from != state:
            faults.append(f"version {moved.version} moves from {moved.state_from}, and the saga was {state}")
        if move is None or move.state != moved.state:
            faults.append(f"version {moved.version}: {moved.moved_by} does not lead from {state} to {moved.state}")
        state, version = SagaState(moved.state), moved.version
    return faults if state is end else [*faults, f"the log ends at {state}, and the row shows {end}"]


def events_of(move: Move) -> Counter[str]:
    """Count the events that a move publishes; commands are not events, and neither is the call for an operator."""
    return Counter(str(effect) for effect in move.effects if effect not in COMMANDS | {Effect.ASK_ATTENTION})


def _repeated(events: Sequence[Recorded]) -> Iterator[str]:
    for event_id, times in Counter(event.event_id for event in events).items():
        if times > 1:
            yield f"event {event_id} is in the trail {times} times"


def _out_of_order(events: Sequence[Recorded]) -> Iterator[str]:
    by_topic: dict[str, list[Recorded]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.offset):
        by_topic[event.topic].append(event)
    for topic, told in by_topic.items():
        for earlier, later in pairwise(told):
            if later.sequence <= earlier.sequence:
                yield f"{topic} has version {later.sequence} after {earlier.sequence}"


def _untold(events: Sequence[Recorded], end: SagaState) -> Iterator[str]:
    told: dict[int, Counter[str]] = defaultdict(Counter)
    for event in events:
        told[event.sequence][event.event_type] += 1
    last = max(told, default=0)
    where = {SagaState.NEW}
    for version in range(1, last + 1):
        before, where = where, set(_reached(where, told.get(version, Counter())))
        if not where:
            said = ", ".join(sorted(told.get(version, ()))) or "nothing"
            yield f"no move from {_list(before)} to version {version} says {said}"
            return
    if min(told, default=1) < 1 or end not in ENDS or end not in where:
        yield f"the trail ends at {_list(where)}, and the saga is {end}"


def _reached(states: Iterable[SagaState], said: Mapping[str, int]) -> Iterator[SagaState]:
    for state in states:
        for (state_from, _), move in TABLE.items():
            if state_from is state and events_of(move) == said:
                yield move.state


def _list(states: Iterable[SagaState]) -> str:
    return " or ".join(sorted(states))
