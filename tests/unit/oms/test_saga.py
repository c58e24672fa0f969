"""The saga's table: its story line by line, and what no order of events can break."""

from __future__ import annotations

import pytest

from services.oms.saga import (
    COMMANDS,
    ENDS,
    TABLE,
    Effect,
    IllegalMove,
    Input,
    SagaState,
    Status,
    diagram,
    is_back,
    status_of,
    step,
)


def follow(*inputs: Input) -> tuple[SagaState, list[Effect]]:
    """Take a new saga through inputs; return its state and everything that it caused."""
    state = SagaState.NEW
    caused: list[Effect] = []
    for moved_by in inputs:
        state, effects = step(1, state, moved_by)
        caused += effects
    return state, caused


BEGIN = [Effect.ORDER_CREATED, Effect.SAGA_STARTED, Effect.RESERVE]

STORIES = {
    "completed": (
        [Input.START, Input.RESERVED, Input.CHARGED],
        SagaState.COMPLETED,
        [*BEGIN, Effect.CHARGE, Effect.ORDER_CONFIRMED, Effect.SAGA_COMPLETED],
    ),
    "payment declined": (
        [Input.START, Input.RESERVED, Input.DECLINED, Input.RELEASED],
        SagaState.FAILED,
        [*BEGIN, Effect.CHARGE, Effect.RELEASE, Effect.ORDER_CANCELED, Effect.SAGA_FAILED],
    ),
    "out of stock": (
        [Input.START, Input.REJECTED],
        SagaState.FAILED,
        [*BEGIN, Effect.ORDER_CANCELED, Effect.SAGA_FAILED],
    ),
    "canceled before the reservation's answer": (
        [Input.START, Input.CANCEL, Input.RELEASED],
        SagaState.CANCELED,
        [*BEGIN, Effect.RELEASE, Effect.ORDER_CANCELED, Effect.SAGA_CANCELED],
    ),
    "canceled with a charge in flight": (
        [Input.START, Input.RESERVED, Input.CANCEL, Input.PAID_BACK, Input.RELEASED],
        SagaState.CANCELED,
        [*BEGIN, Effect.CHARGE, Effect.PAY_BACK, Effect.RELEASE, Effect.ORDER_CANCELED, Effect.SAGA_CANCELED],
    ),
    "refunded after completion": (
        [Input.START, Input.RESERVED, Input.CHARGED, Input.REFUND, Input.PAID_BACK, Input.RELEASED],
        SagaState.REFUNDED,
        [
            *BEGIN,
            Effect.CHARGE,
            Effect.ORDER_CONFIRMED,
            Effect.SAGA_COMPLETED,
            Effect.PAY_BACK,
            Effect.RELEASE,
            Effect.ORDER_REFUNDED,
            Effect.SAGA_REFUNDED,
        ],
    ),
    "no answer to the charge": (
        [Input.START, Input.RESERVED, Input.TIMED_OUT, Input.GAVE_UP, Input.PAID_BACK, Input.RELEASED],
        SagaState.FAILED,
        [
            *BEGIN,
            Effect.CHARGE,
            Effect.CHARGE,
            Effect.PAY_BACK,
            Effect.RELEASE,
            Effect.ORDER_CANCELED,
            Effect.SAGA_FAILED,
        ],
    ),
    "a release that needs an operator": (
        [Input.START, Input.GAVE_UP, Input.GAVE_UP, Input.RETRY, Input.RELEASED],
        SagaState.FAILED,
        [
            *BEGIN,
            Effect.RELEASE,
            Effect.ASK_ATTENTION,
            Effect.RELEASE,
            Effect.ORDER_CANCELED,
            Effect.SAGA_FAILED,
        ],
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_each_story_ends_as_it_is_told(story: str) -> None:
    """A story's inputs lead to its end and cause exactly its messages, in order."""
    inputs, end, caused = STORIES[story]
    assert follow(*inputs) == (end, caused)


def test_an_illegal_move_names_state_and_input() -> None:
    """An input without a row raises an error that names what was not possible."""
    with pytest.raises(IllegalMove, match=r"completed cannot take cancel") as caught:
        step(1, SagaState.COMPLETED, Input.CANCEL)
    assert (caught.value.state, caught.value.moved_by) == (SagaState.COMPLETED, Input.CANCEL)


def test_every_waiting_state_bounds_its_wait() -> None:
    """A state that sent a command has rows for a timeout and for giving up, so no saga waits without end."""
    waiting = {move.state for move in TABLE.values() if COMMANDS & set(move.effects)}
    assert waiting == set(SagaState) - set(ENDS) - {SagaState.NEW}
    for state in waiting:
        assert {(state, Input.TIMED_OUT), (state, Input.GAVE_UP)} <= set(TABLE)


def test_a_move_sends_at_most_one_command() -> None:
    """One command per move, so that one `command_id` on the saga's row matches the one answer that is awaited."""
    assert all(len(COMMANDS & set(move.effects)) <= 1 for move in TABLE.values())


def test_nothing_is_canceled_after_the_pivot() -> None:
    """Cancel has rows only while the reservation's or the charge's answer is not applied."""
    assert {state for state, moved_by in TABLE if moved_by is Input.CANCEL} == {SagaState.RESERVING, SagaState.CHARGING}


def test_the_way_back_always_reaches_its_own_end() -> None:
    """From every state of a way back, the answers alone lead to the end that its name promises."""
    ends = {"failing": SagaState.FAILED, "canceling": SagaState.CANCELED, "returning": SagaState.REFUNDED}
    for state in (state for state in SagaState if is_back(1, state)):
        here = state
        while here not in ENDS:
            answer = Input.PAID_BACK if here.endswith("refund") else Input.RELEASED
            here = step(1, here, answer).state
        assert here is ends[state.partition("_")[0]]


@pytest.mark.parametrize(
    ("state", "attention", "status"),
    [
        (SagaState.RESERVING, False, Status.RUNNING),
        (SagaState.CHARGING, False, Status.RUNNING),
        (SagaState.FAILING_RELEASE, False, Status.COMPENSATING),
        (SagaState.RETURNING_REFUND, False, Status.COMPENSATING),
        (SagaState.RETURNING_REFUND, True, Status.NEEDS_ATTENTION),
        (SagaState.COMPLETED, False, Status.COMPLETED),
        (SagaState.REFUNDED, False, Status.REFUNDED),
    ],
)
def test_status_sums_a_state_up(state: SagaState, attention: bool, status: Status) -> None:  # noqa: FBT001  pytest gives it
    """A state and the call for attention give the one word that people search by."""
    assert status_of(1, state, needs_attention=attention) is status


def test_the_diagram_shows_each_move_once() -> None:
    """The drawn diagram has one arrow for each row that changes the state."""
    arrows = [line for line in diagram(1).splitlines() if ": " in line]
    assert len(arrows) == len({(s, i) for (s, i), move in TABLE.items() if s != move.state})
    assert "    charging --> completed: payment.charged" in arrows
