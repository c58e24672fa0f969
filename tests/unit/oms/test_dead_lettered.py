"""A command that became a dead letter may have been done, and is not asked for again."""

import pytest

from services.oms.saga import DEFINITIONS, Effect, Input, SagaState, step

WAITING = sorted(state for state, moved_by in DEFINITIONS[1] if moved_by is Input.TIMED_OUT)


@pytest.mark.parametrize("state", WAITING)
def test_a_dead_lettered_command_counts_as_maybe_done(state: SagaState) -> None:
    """Its saga moves as if no reply had come after all attempts."""
    assert step(1, state, Input.DEAD_LETTERED) == step(1, state, Input.GAVE_UP)


def test_a_dead_lettered_charge_is_paid_back() -> None:
    """The charge may have been made, so it is undone."""
    assert step(1, SagaState.CHARGING, Input.DEAD_LETTERED).effects == (Effect.PAY_BACK,)
