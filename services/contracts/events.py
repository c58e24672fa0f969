"""Events: what happened to an order and to its saga, for any service that wants to know."""

from __future__ import annotations

from typing import Literal

from services.contracts.envelope import Identifier, Item, Message, Money, Value


class OrderPlaced(Value):
    """What was ordered, and for how much."""

    customer_id: Identifier
    items: tuple[Item, ...]
    total: Money


class OrderTotal(Value):
    """The order's total."""

    total: Money


class Reason(Value):
    """Why an order or its saga ended so, as a short code such as `payment_declined`."""

    reason: Identifier


class Nothing(Value):
    """An empty payload: the event's type says everything."""


class OrderCreated(Message):
    """An order was accepted."""

    event_type: Literal["order.created"] = "order.created"
    payload: OrderPlaced


class OrderConfirmed(Message):
    """An order is reserved and paid."""

    event_type: Literal["order.confirmed"] = "order.confirmed"
    payload: OrderTotal


class OrderCanceled(Message):
    """An order ended without a sale."""

    event_type: Literal["order.canceled"] = "order.canceled"
    payload: Reason


class OrderRefunded(Message):
    """A confirmed order was paid back and its stock returned."""

    event_type: Literal["order.refunded"] = "order.refunded"
    payload: OrderTotal


class SagaStarted(Message):
    """A saga began."""

    event_type: Literal["saga.started"] = "saga.started"
    payload: Nothing = Nothing()


class SagaCompleted(Message):
    """A saga completed: the order is reserved and paid."""

    event_type: Literal["saga.completed"] = "saga.completed"
    payload: Nothing = Nothing()


class SagaFailed(Message):
    """A saga failed, and everything it had done was compensated."""

    event_type: Literal["saga.failed"] = "saga.failed"
    payload: Reason


class SagaCanceled(Message):
    """A saga was canceled on request, and everything it had done was compensated."""

    event_type: Literal["saga.canceled"] = "saga.canceled"
    payload: Reason


class SagaRefunded(Message):
    """A completed saga was refunded on request."""

    event_type: Literal["saga.refunded"] = "saga.refunded"
    payload: Reason
