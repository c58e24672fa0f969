"""The notices that customers get, pure: one for each order event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from services.contracts import Message

TEMPLATES: Mapping[str, str] = {
    "order.created": "order_received",
    "order.confirmed": "order_confirmed",
    "order.canceled": "order_canceled",
    "order.refunded": "order_refunded",
}


@dataclass(frozen=True)
class Notice:
    """A notice before it is sent: which template, about which order."""

    event_id: UUID
    order_id: str
    saga_id: str
    template: str


def notice_for(event: Message) -> Notice | None:
    """Return the notice for an event; None if customers are not told about its type."""
    template = TEMPLATES.get(event.event_type)
    if template is None:
        return None
    return Notice(event_id=event.event_id, order_id=event.order_id, saga_id=event.saga_id, template=template)
