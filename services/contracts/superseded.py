"""Versions of messages that are written no more, unless a deploy holds their type there, and the steps to the next one.

A version, once released, never changes: its model stays here as it was for as long as its records can come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from services.contracts.envelope import V1, Identifier, Item, Message, Money, Value
from services.contracts.events import OrderCreated, OrderPlaced


@dataclass(frozen=True)
class Change:
    """The step between a version and the next one, both ways, pure.

    `up` returns an older message as the next version has it, `down` a newer one as this version had it. Both keep the
    event id and everything else that says which message it is.
    """

    older: type[Message]
    up: Callable[[Any], Message]
    down: Callable[[Any], Message]


class OrderPlacedV1(Value):
    """What was ordered, and for how much."""

    customer_id: Identifier
    items: tuple[Item, ...]
    total: Money


class OrderCreatedV1(Message):
    """An order was accepted.

    Example:
        {"customer_id": "c-1",
         "items": [{"sku": "sku_ok", "quantity": 2, "unit_price": {"amount": 150, "currency": "EUR"}}],
         "total": {"amount": 300, "currency": "EUR"}}
    """

    event_type: Literal["order.created"] = "order.created"
    schema_version: V1 = 1
    payload: OrderPlacedV1


def _with_window(event: OrderCreatedV1) -> OrderCreated:
    """Version 1 knew of no delivery windows: any time would do."""
    placed = OrderPlaced(**dict(event.payload))
    return OrderCreated(**dict(event) | {"schema_version": 2, "payload": placed})


def _without_window(event: OrderCreated) -> OrderCreatedV1:
    placed = OrderPlacedV1(customer_id=event.payload.customer_id, items=event.payload.items, total=event.payload.total)
    return OrderCreatedV1(**dict(event) | {"schema_version": 1, "payload": placed})


CHANGES = (Change(OrderCreatedV1, _with_window, _without_window),)
"""Every step, the steps of a type in order."""
