"""The saga's table under any order of inputs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.oms.saga import ENDS, Effect, IllegalMove, Input, SagaState, step

CANCELS_OUT = {Effect.ORDER_CONFIRMED: 1, Effect.ORDER_CANCELED: 1, Effect.ORDER_REFUNDED: 1}


def follow(inputs: list[Input]) -> tuple[SagaState, list[Effect]]:
    """Take a new saga through inputs, as the orchestrator does: an illegal one changes nothing."""
    state, effects = step(1, SagaState.NEW, Input.START)
    caused = list(effects)
    for moved_by in inputs:
        try:
            state, effects = step(1, state, moved_by)
        except IllegalMove:
            continue
        caused += effects
    return state, caused


@given(st.lists(st.sampled_from(Input), max_size=30))
def test_a_saga_says_each_thing_once(inputs: list[Input]) -> None:
    """In whatever order things arrive, an order ends at most once each way, and never both confirmed and canceled."""
    _, caused = follow(inputs)
    assert all(caused.count(effect) <= most for effect, most in CANCELS_OUT.items())
    assert not {Effect.ORDER_CONFIRMED, Effect.ORDER_CANCELED} <= set(caused)


@given(st.lists(st.sampled_from(Input), max_size=30))
def test_what_may_have_been_done_is_undone(inputs: list[Input]) -> None:
    """A saga that ended without a sale undid what may have been done, the payment before the stock.

    A refused reservation is the one thing that needs no release, and no charge follows it.
    """
    state, caused = follow(inputs)
    if state in {SagaState.FAILED, SagaState.CANCELED, SagaState.REFUNDED} and Effect.RELEASE not in caused:
        assert caused[-2:] == [Effect.ORDER_CANCELED, Effect.SAGA_FAILED]
        assert Effect.CHARGE not in caused
    if state in {SagaState.CANCELED, SagaState.REFUNDED} and Effect.CHARGE in caused:
        assert Effect.PAY_BACK in caused
        assert caused.index(Effect.PAY_BACK) < caused.index(Effect.RELEASE)


@given(st.lists(st.sampled_from(Input), max_size=30))
def test_every_saga_can_still_end(inputs: list[Input]) -> None:
    """Wherever any inputs have led, the awaited answers bring the saga to an end."""
    answers = {
        "reserving": Input.RESERVED,
        "charging": Input.CHARGED,
        "refund": Input.PAID_BACK,
        "release": Input.RELEASED,
    }
    state, _ = follow(inputs)
    for _ in SagaState:
        if state not in ENDS:
            state = step(1, state, answers[state.rpartition("_")[2]]).state
    assert state in ENDS
