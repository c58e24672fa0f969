"""The durable writes of the orchestrator, as its crash points name them."""

from __future__ import annotations

from enum import StrEnum


class OmsWrite(StrEnum):
    """Every durable write of the orchestrator."""

    ORDER_PLACED = "order.placed"
    ORDER_REQUEST = "order.request"
    REPLY = "reply"
    REPLY_PROGRESS = "reply.progress"
    TIMEOUT = "timeout"
