"""Events: what happened to an order and to its saga, for any service that wants to know."""

from __future__ import annotations

from typing import Literal

from services.contracts.envelope import V1, V2, Identifier, Item, Message, Money, Time, Value


class DeliveryWindow(Value):
    """When the customer wants the order delivered."""

    earliest: Time
    latest: Time


class OrderPlaced(Value):
    """What was ordered, for how much, and when to deliver it; without a window, any time will do."""

    customer_id: Identifier
    items: tuple[Item, ...]
    total: Money
    delivery_window: DeliveryWindow | None = None


class OrderTotal(Value):
    """The order's total."""

    total: Money


class Reason(Value):
    """Why an order or its saga ended so, as a short code such as `payment_declined`."""

    reason: Identifier


class Nothing(Value):
    """An empty payload: the event's type says everything."""


class OrderCreated(Message):
    """An order was accepted.

    Example:
        {"customer_id": "c-1",
         "items": [{"sku": "sku_ok", "quantity": 2, "unit_price": {"amount": 150, "currency": "EUR"}}],
         "total": {"amount": 300, "currency": "EUR"},
         "delivery_window": {"earliest": "2026-03-02T08:00:00Z", "latest": "2026-03-02T12:00:00Z"}}
    """

    event_type: Literal["order.created"] = "order.created"
    schema_version: V2 = 2
    payload: OrderPlaced


class OrderConfirmed(Message):
    """An order is reserved and paid.

    Example:
        {"total": {"amount": 300, "currency": "EUR"}}
    """

    event_type: Literal["order.confirmed"] = "order.confirmed"
    schema_version: V1 = 1
    payload: OrderTotal


class OrderCanceled(Message):
    """An order ended without a sale.

    Example:
        {"reason": "declined"}
    """

    event_type: Literal["order.canceled"] = "order.canceled"
    schema_version: V1 = 1
    payload: Reason


class OrderRefunded(Message):
    """A confirmed order was paid back and its stock returned.

    Example:
        {"total": {"amount": 300, "currency": "EUR"}}
    """

    event_type: Literal["order.refunded"] = "order.refunded"
    schema_version: V1 = 1
    payload: OrderTotal


class SagaStarted(Message):
    """A saga began.

    Example:
        {}
    """

    event_type: Literal["saga.started"] = "saga.started"
    schema_version: V1 = 1
    payload: Nothing = Nothing()


class SagaCompleted(Message):
    """A saga completed: the order is reserved and paid.

    Example:
        {}
    """

    event_type: Literal["saga.completed"] = "saga.completed"
    schema_version: V1 = 1
    payload: Nothing = Nothing()


class SagaFailed(Message):
    """A saga failed, and everything it had done was compensated.

    Example:
        {"reason": "declined"}
    """

    event_type: Literal["saga.failed"] = "saga.failed"
    schema_version: V1 = 1
    payload: Reason


class SagaCanceled(Message):
    """A saga was canceled on request, and everything it had done was compensated.

    Example:
        {"reason": "canceled_by_request"}
    """

    event_type: Literal["saga.canceled"] = "saga.canceled"
    schema_version: V1 = 1
    payload: Reason


class SagaRefunded(Message):
    """A completed saga was refunded on request.

    Example:
        {"reason": "refunded_by_request"}
    """

    event_type: Literal["saga.refunded"] = "saga.refunded"
    schema_version: V1 = 1
    payload: Reason
