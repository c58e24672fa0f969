"""The demo's scenarios: five orders, the request made for each, and how each must end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Request(StrEnum):
    """A request for an order, named by the last part of its URL."""

    CANCEL = "cancel"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One order.

    Args:
        name: Its name in the report.
        outcome: The saga's status at its end.
        sku: What is ordered.
        payment_method: How it is paid.
        request: A request to make while the saga's status is `request_at`.
        request_at: The saga's status at which to make the request.
    """

    name: str
    outcome: str
    sku: str = "sku_ok"
    payment_method: str = "pm_ok"
    request: Request | None = None
    request_at: str = ""

    @property
    def order(self) -> dict[str, Any]:
        """The body of `POST /orders`; money is in minor units."""
        item = {"sku": self.sku, "quantity": 1, "unit_price": {"amount": 1500, "currency": "EUR"}}
        return {"customer_id": "c-1", "items": [item], "payment_method": self.payment_method}


SCENARIOS = (
    Scenario("completed", outcome="completed"),
    Scenario("payment_declined", outcome="failed", payment_method="pm_declined"),
    Scenario("out_of_stock", outcome="failed", sku="sku_none"),
    # The reservation of this SKU is slow, so the cancellation comes before the pivot.
    Scenario("canceled", outcome="canceled", sku="sku_slow", request=Request.CANCEL, request_at="running"),
    Scenario("refunded", outcome="refunded", request=Request.REFUND, request_at="completed"),
)
