"""`order.created` in its newest version."""

from __future__ import annotations

from services.contracts import Item, Money
from services.contracts.events import DeliveryWindow, OrderCreated, OrderPlaced

ITEMS = (Item(sku="sku_ok", quantity=2, unit_price=Money(amount=150, currency="EUR")),)
WINDOW = DeliveryWindow.model_validate({"earliest": "2026-03-02T08:00:00Z", "latest": "2026-03-02T12:00:00+01:00"})


def placed(window: DeliveryWindow | None = WINDOW) -> OrderPlaced:
    """Return what was ordered."""
    total = Money(amount=300, currency="EUR")
    return OrderPlaced(customer_id="c-1", items=ITEMS, total=total, delivery_window=window)


def created(order: str = "o-1", window: DeliveryWindow | None = WINDOW) -> OrderCreated:
    """Return the event of an order that is to be delivered in a window."""
    return OrderCreated(saga_id=f"saga-of-{order}", order_id=order, sequence=1, payload=placed(window))
