"""The audit trail's SQL: it is appended to and read, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from opentelemetry import trace
from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.audit.entry import AuditEntry
from services.audit.tables import trail
from services.messaging.storage import database_now, insert_each_once


def row_of(entry: AuditEntry) -> dict[str, Any]:
    """Return the trail's row for an entry, with the current trace."""
    return {
        "topic": entry.topic,
        "partition": entry.partition,
        "offset": entry.offset,
        "event_id": entry.event_id,
        "event_type": entry.event_type,
        "is_known": entry.is_known,
        "saga_id": entry.saga_id,
        "order_id": entry.order_id,
        "sequence": entry.sequence,
        "occurred_at": entry.occurred_at,
        "value": entry.value,
        "trace_id": _trace_id(),
        "recorded_at": database_now(),
    }


async def append(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> set[UUID]:
    """Append rows, and return the ids of the events that were not in the trail, nor their records."""
    ordered = sorted(rows, key=lambda row: (row["topic"], row["partition"], row["offset"]))
    return await insert_each_once(connection, trail, ordered, trail.c.event_id) if ordered else set()


async def of_order(connection: AsyncConnection, order_id: str) -> Sequence[RowMapping]:
    """Read an order's events, in the saga's own sequence."""
    query = select(trail).where(trail.c.order_id == order_id).order_by(trail.c.sequence, trail.c.id)
    return (await connection.execute(query)).mappings().all()


def _trace_id() -> str | None:
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None
