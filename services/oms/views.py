"""What the API returns about orders and sagas."""

from __future__ import annotations

from datetime import datetime

from services.contracts.envelope import Value
from services.oms.saga import Status


class Placed(Value):
    """The response to an accepted request: the order, its saga, and the trace to look at."""

    order_id: str
    saga_id: str
    trace_id: str | None


class OrderView(Placed):
    """An order: `status` is its saga's, `order_status` is the order's own (pending, confirmed, canceled, refunded)."""

    status: Status
    order_status: str
    reason: str | None
    created_at: datetime
    updated_at: datetime


class SagaView(Placed):
    """A saga as a line in a list; `state` is where it waits in the saga's table."""

    status: Status
    state: str
    attempt: int
    reason: str | None
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None


class HistoryEntry(Value):
    """One input to a saga, applied or not, and the span in which it came."""

    sequence: int
    at: datetime
    input: str
    verdict: str
    state_from: str
    state: str
    attempt: int
    trace_id: str | None
    span_id: str | None
    actor: str | None


class SagaHistoryView(SagaView):
    """A saga with its history, oldest first."""

    history: tuple[HistoryEntry, ...]
