"""How a saga's row changes with a move, and what is in the messages of the move."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.contracts import Item, Message, Money
from services.contracts.commands import Command
from services.contracts.topics import topic_of
from services.oms.effects import message_for
from services.oms.records import Order, Saga, facts_of, new_saga
from services.oms.saga import Effect, Input, SagaState, step

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
LATER = BEGAN + timedelta(seconds=5)

ORDER = Order(
    order_id="o-1",
    customer_id="c-1",
    items=(Item(sku="sku_ok", quantity=2, unit_price=Money(amount=150, currency="EUR")),),
    total=Money(amount=300, currency="EUR"),
    payment_method="pm_ok",
)


def at(*inputs: Input) -> Saga:
    """Return a saga's row as it is after inputs."""
    saga = new_saga(ORDER, {}, BEGAN).saga
    for by in inputs:
        saga = saga.moved(by, step(saga.definition, saga.state, by), reason=None, at=LATER)
    return saga


def test_every_attempt_has_an_id_of_its_own() -> None:
    """A step that is tried again gets a new command id and the next attempt's number: the old answer is stale."""
    first = at(Input.START)
    again = first.moved(Input.TIMED_OUT, step(1, first.state, Input.TIMED_OUT), reason=None, at=LATER)
    assert (first.attempt, again.attempt) == (1, 2)
    assert first.command_id is not None
    assert not again.awaits(first.command_id)


def test_each_step_counts_its_own_attempts() -> None:
    """A new step begins at its first attempt."""
    assert at(Input.START, Input.TIMED_OUT, Input.RESERVED).attempt == 1


def test_a_call_for_attention_still_takes_the_late_answer() -> None:
    """A saga that needs attention keeps the id of its last command, and its way back goes on with the answer."""
    stuck = at(Input.START, Input.GAVE_UP, Input.GAVE_UP)
    before = at(Input.START, Input.GAVE_UP)
    assert stuck.needs_attention
    assert stuck.command_id is not None
    assert replace(before, command_id=stuck.command_id).awaits(stuck.command_id)
    freed = stuck.moved(Input.RELEASED, step(1, stuck.state, Input.RELEASED), reason=None, at=LATER)
    assert (freed.state, freed.needs_attention) == (SagaState.FAILED, False)


def test_an_end_awaits_nothing() -> None:
    """A saga at its end has no command, no deadline, and the time of its end."""
    ended = at(Input.START, Input.REJECTED)
    assert (ended.command_id, ended.deadline, ended.ended_at) == (None, None, LATER)


def test_the_first_reason_stays() -> None:
    """The input that turned a saga back gives the reason, which is kept on the whole way back."""
    declined = at(Input.START, Input.RESERVED)
    declined = declined.moved(
        Input.DECLINED,
        step(1, declined.state, Input.DECLINED),
        reason="payment_declined",
        at=LATER,
    )
    released = declined.moved(Input.RELEASED, step(1, declined.state, Input.RELEASED), reason=None, at=LATER)
    assert released.reason == "payment_declined"
    assert at(Input.START, Input.CANCEL, Input.GAVE_UP).reason == "canceled_by_request"


def test_a_refund_begins_a_life_of_its_own() -> None:
    """The summary of an order's life begins with the order, and that of a refund with the refund's request."""
    completed = at(Input.START, Input.RESERVED, Input.CHARGED)
    assert completed.phase_began_at == BEGAN
    refund = step(1, completed.state, Input.REFUND)
    assert completed.moved(Input.REFUND, refund, reason=None, at=LATER).phase_began_at == LATER


@pytest.mark.parametrize("effect", [effect for effect in Effect if effect is not Effect.ASK_ATTENTION])
def test_every_effect_is_the_message_that_it_names(effect: Effect) -> None:
    """An effect's message has the effect's type, the saga's ids and its version as sequence."""
    saga = at(Input.START)
    message = message_for(effect, facts_of(saga, ORDER))
    assert message.event_type == effect
    assert (message.saga_id, message.order_id, message.sequence) == (saga.saga_id, "o-1", 1)
    assert topic_of(message).startswith("oms.")


def test_a_command_is_known_by_the_id_that_its_saga_awaits() -> None:
    """The awaited id is the command's event id and its `command_id`, so relay and reply name the same attempt."""
    saga = at(Input.START)
    message: Message = message_for(Effect.RESERVE, facts_of(saga, ORDER))
    assert saga.awaits(message.event_id)
    assert isinstance(message.payload, Command)
    assert saga.awaits(message.payload.command_id)
