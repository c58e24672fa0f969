"""The history checker: it takes every history that the saga's table can write, and none that was tampered with."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.topics import ORDER_EVENTS, SAGA_EVENTS
from services.oms.saga import ENDS, TABLE, Move, SagaState
from tests.chaos.history import Moved, Recorded, check_moves, check_trail, events_of


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Recorded], list[Moved], SagaState]:
    """Walk through the table to an end, and write down what that says: the trail, the saga's log, and the end."""
    state = SagaState.NEW
    trail: list[Recorded] = []
    log: list[Moved] = []
    offsets = {ORDER_EVENTS: 0, SAGA_EVENTS: 0}
    while state not in ENDS or (_moves(state) and draw(st.booleans())):
        moved_by, move = draw(st.sampled_from(_moves(state)))
        log.append(Moved(len(log) + 1, moved_by, state, move.state))
        for event_type in sorted(events_of(move)):
            topic = ORDER_EVENTS if event_type.startswith("order.") else SAGA_EVENTS
            offsets[topic] += draw(st.integers(1, 9))
            trail.append(Recorded(topic, offsets[topic], f"e-{len(trail)}", event_type, len(log)))
        state = move.state
    # The trail is read in any order: the offsets tell the true one.
    return draw(st.permutations(trail)), log, state


def _moves(state: SagaState) -> list[tuple[str, Move]]:
    return [(str(moved_by), move) for (at, moved_by), move in TABLE.items() if at is state]


@given(histories())
def test_what_the_table_writes_is_legal(history: tuple[list[Recorded], list[Moved], SagaState]) -> None:
    """Whichever way a saga goes, its trail and its log pass."""
    trail, log, end = history
    assert check_trail(trail, end) == []
    assert check_moves(log, end) == []


Tamper = Callable[[st.DataObject, list[Recorded]], list[Recorded]]


def _lose_one(data: st.DataObject, trail: list[Recorded]) -> list[Recorded]:
    gone = data.draw(st.sampled_from(trail))
    return [event for event in trail if event is not gone]


def _lose_a_version(data: st.DataObject, trail: list[Recorded]) -> list[Recorded]:
    gone = data.draw(st.sampled_from(trail)).sequence
    return [event for event in trail if event.sequence != gone]


def _repeat_one(data: st.DataObject, trail: list[Recorded]) -> list[Recorded]:
    event = data.draw(st.sampled_from(trail))
    return [*trail, replace(event, offset=1000)]


def _say_twice(data: st.DataObject, trail: list[Recorded]) -> list[Recorded]:
    """Apply one move twice: the same words under new ids."""
    event = data.draw(st.sampled_from(trail))
    return [*trail, replace(event, offset=1000, event_id="another")]


def _say_it_later(data: st.DataObject, trail: list[Recorded]) -> list[Recorded]:
    """Append an event behind one that was written after it."""
    event = data.draw(st.sampled_from([one for one in trail if _follower(one, trail)]))
    return [replace(one, offset=1000) if one is event else one for one in trail]


def _say_something_else(data: st.DataObject, trail: list[Recorded]) -> list[Recorded]:
    event = data.draw(st.sampled_from(trail))
    others = {"order.created", "order.confirmed", "order.canceled", "order.refunded"} - {event.event_type}
    return [
        replace(one, event_type=data.draw(st.sampled_from(sorted(others)))) if one is event else one for one in trail
    ]


def _number_it_anew(data: st.DataObject, trail: list[Recorded]) -> list[Recorded]:
    event = data.draw(st.sampled_from(trail))
    number = data.draw(st.integers(-2, 40).filter(lambda number: number != event.sequence))
    return [replace(one, sequence=number) if one is event else one for one in trail]


def _follower(event: Recorded, trail: list[Recorded]) -> bool:
    return any(one.topic == event.topic and one.offset > event.offset for one in trail)


@pytest.mark.parametrize(
    "tamper",
    [_lose_one, _lose_a_version, _repeat_one, _say_twice, _say_it_later, _say_something_else, _number_it_anew],
)
@given(data=st.data(), history=histories())
def test_a_tampered_trail_is_found(
    tamper: Tamper, data: st.DataObject, history: tuple[list[Recorded], list[Moved], SagaState]
) -> None:
    """An event that is lost, repeated, applied twice, out of order, changed or misnumbered makes the trail illegal."""
    trail, _, end = history
    assert check_trail(tamper(data, trail), end) != []


@given(data=st.data(), history=histories())
def test_a_trail_of_another_end_is_found(
    data: st.DataObject, history: tuple[list[Recorded], list[Moved], SagaState]
) -> None:
    """A trail that does not lead to where the saga's row is, or to no end at all, is illegal."""
    trail, log, end = history
    other = data.draw(st.sampled_from([state for state in SagaState if state is not end]))
    assert check_trail(trail, other) != []
    assert check_moves(log, other) != []


@given(data=st.data(), history=histories())
def test_a_tampered_log_is_found(data: st.DataObject, history: tuple[list[Recorded], list[Moved], SagaState]) -> None:
    """A saga's log in which a move is lost, repeated, or leads elsewhere is illegal."""
    _, log, end = history
    at = data.draw(st.integers(0, len(log) - 1))
    moved = log[at]
    assert check_moves([*log[:at], *log[at + 1 :]], end) != []
    assert check_moves([*log[: at + 1], moved, *log[at + 1 :]], end) != []
    elsewhere = data.draw(st.sampled_from([state for state in SagaState if state != moved.state]))
    assert check_moves([*log[:at], replace(moved, state=elsewhere), *log[at + 1 :]], end) != []
    # Also where the row and all that follows agree with it.
    wrong = data.draw(st.sampled_from([state for state in SagaState if state != end]))
    assert check_moves([*log[:-1], replace(log[-1], state=wrong)], wrong) != []


def test_an_empty_trail_is_no_history() -> None:
    """An order of which nothing was recorded has not ended, whatever its saga's row shows."""
    for end in SagaState:
        assert check_trail([], end) != []
