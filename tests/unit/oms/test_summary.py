"""The span of a saga's life: its name says how it ended, in few words."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.contracts import Item, Money
from services.contracts.replies import REFUSALS
from services.inventory import stock
from services.oms.records import Order, new_saga
from services.oms.saga import SagaState
from services.oms.summary import write_span
from services.payment import charge, gateway
from tests.support.spans import attributes_of
from tracing.testing import RecordedSpans

PRICE = Money(amount=150, currency="EUR")
ORDER = Order("o-1", "c-1", (Item(sku="sku_ok", quantity=1, unit_price=PRICE),), PRICE, "pm_ok")


@pytest.mark.parametrize(
    ("state", "reason", "name"),
    [
        (SagaState.COMPLETED, None, "saga order completed"),
        (SagaState.FAILED, "declined", "saga order failed: declined"),
        (SagaState.FAILED, "no_answer", "saga order failed: no_answer"),
        (SagaState.FAILED, "card-of-o-4711", "saga order failed"),
        (SagaState.CANCELED, "canceled_by_request", "saga order canceled"),
        (SagaState.REFUNDED, "refunded_by_request", "refund order completed"),
    ],
)
def test_the_name_says_how_it_ended(state: SagaState, reason: str | None, name: str) -> None:
    """A reason that this version knows is in the name; any other is on the span and in no name."""
    saga = replace(new_saga(ORDER, {}, datetime.now(UTC)).saga, state=state, reason=reason)
    with RecordedSpans(instrumented=False) as spans:
        write_span(saga)
    (span,) = spans.finished
    failure = reason if state is SagaState.FAILED else None
    assert (span.name, span.status.description, attributes_of(span).get("error.type")) == (name, failure, failure)


def test_the_participants_reasons_are_known() -> None:
    """Every reason that a participant of this version gives may stand in a name."""
    declines = {reason for reason in gateway._DECLINES.values() if reason}
    assert {stock.OUT_OF_STOCK, stock.UNDONE, charge.UNDONE, "unknown_method", "dead_lettered"} | declines == REFUSALS
