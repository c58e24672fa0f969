"""The rules of an order, apart from its saga: what it costs, and what makes it valid."""

from __future__ import annotations

from collections.abc import Sequence

from services.contracts import Item, Money
from services.contracts.events import DeliveryWindow
from services.oms.saga import SagaState

MAX_LINES = 100

_FROM_SAGA = {
    SagaState.COMPLETED: "confirmed",
    SagaState.FAILED: "canceled",
    SagaState.CANCELED: "canceled",
    SagaState.RETURNING_REFUND: "confirmed",
    SagaState.RETURNING_RELEASE: "confirmed",
    SagaState.REFUNDED: "refunded",
}


class OrderError(ValueError):
    """An order breaks a rule; `field` names the part of the request that breaks it."""

    def __init__(self, field: str, rule: str) -> None:
        """Name the field and the rule, never the value."""
        super().__init__(rule)
        self.field = field
        self.rule = rule


def total_of(items: Sequence[Item]) -> Money:
    """Return the total of an order's lines, in integer minor units.

    Raises:
        OrderError: there are no lines or too many, they mix currencies, or the total exceeds what `Money` holds.
    """
    if not 1 <= len(items) <= MAX_LINES:
        raise OrderError("items", f"an order has 1 to {MAX_LINES} lines")
    currencies = {item.unit_price.currency for item in items}
    if len(currencies) > 1:
        raise OrderError("items", "all lines of an order have one currency")
    amount = sum(item.quantity * item.unit_price.amount for item in items)
    try:
        return Money(amount=amount, currency=currencies.pop())
    except ValueError:
        raise OrderError("items", "the order's total is too large") from None


def check_window(window: DeliveryWindow | None) -> None:
    """Check that a delivery window has a length.

    Raises:
        OrderError: it ends before it begins, or as it does.
    """
    if window is not None and window.latest <= window.earliest:
        raise OrderError("delivery_window", "it ends after it begins")


def status_of(state: SagaState) -> str:
    """Return an order's status by its saga's state: pending, confirmed, canceled or refunded.

    While the saga is under way the order is pending: this is its semantic lock.
    """
    return _FROM_SAGA.get(state, "pending")
