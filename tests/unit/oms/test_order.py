"""The rules of an order."""

from __future__ import annotations

import pytest

from services.contracts import Item, Money
from services.oms.order import MAX_LINES, OrderError, status_of, total_of
from services.oms.saga import SagaState


def line(quantity: int, amount: int, currency: str = "EUR") -> Item:
    """Return one line of an order."""
    return Item(sku="sku_ok", quantity=quantity, unit_price=Money(amount=amount, currency=currency))


def test_a_total_is_the_sum_of_its_lines() -> None:
    """Quantities and prices multiply and add up in integer minor units."""
    assert total_of([line(2, 1999), line(1, 1)]) == Money(amount=3999, currency="EUR")


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        ([], "1 to 100 lines"),
        ([line(1, 1)] * (MAX_LINES + 1), "1 to 100 lines"),
        ([line(1, 1), line(1, 1, "USD")], "one currency"),
        ([line(10_000, 10**15)], "too large"),
    ],
)
def test_an_order_that_breaks_a_rule_names_field_and_rule(lines: list[Item], rule: str) -> None:
    """Each broken rule is an error that names the field and says the rule."""
    with pytest.raises(OrderError, match=rule) as caught:
        total_of(lines)
    assert caught.value.field == "items"


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (SagaState.RESERVING, "pending"),
        (SagaState.FAILING_RELEASE, "pending"),
        (SagaState.COMPLETED, "confirmed"),
        (SagaState.RETURNING_REFUND, "confirmed"),
        (SagaState.FAILED, "canceled"),
        (SagaState.REFUNDED, "refunded"),
    ],
)
def test_an_orders_status_follows_its_saga(state: SagaState, status: str) -> None:
    """An order is pending while its saga decides, and keeps what was decided until a refund is through."""
    assert status_of(state) == status
