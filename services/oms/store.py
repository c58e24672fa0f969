"""The orchestrator's SQL: each function takes the caller's connection and returns frozen rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from opentelemetry import trace
from sqlalchemy import (
    Executable,
    Float,
    Row,
    String,
    Uuid,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts import Item, Money
from services.contracts.events import DeliveryWindow
from services.messaging.errors import Transient
from services.messaging.storage import (
    database_now,
    database_time,
    insert_each_once,
    insert_once,
    rows_of_json,
    update_each,
)
from services.oms.records import LockedSaga, Order, Saga, SagaFilter
from services.oms.saga import DEFINITIONS, ENDS, Input, SagaState, Status
from services.oms.tables import history, idempotency_keys, orders, reply_progress, sagas

# By status, which has an index.
_IS_OPEN = sagas.c.status.in_([Status.RUNNING, Status.COMPENSATING, Status.NEEDS_ATTENTION])


HistoryRow = dict[str, Any]
"""The columns of an entry that is to be written."""


class ConcurrentUpdate(Transient):
    """Another transaction has moved this saga since its row was read."""


async def insert_orders(connection: AsyncConnection, new: Sequence[Order]) -> datetime:
    """Insert new orders, and return the time by the database's clock."""
    rows = [
        {
            "order_id": order.order_id,
            "customer_id": order.customer_id,
            "items": [item.model_dump(mode="json") for item in order.items],
            "total_amount": order.total.amount,
            "currency": order.total.currency,
            "payment_method": order.payment_method,
            "deliver_after": order.delivery_window and order.delivery_window.earliest,
            "deliver_before": order.delivery_window and order.delivery_window.latest,
            "created_at": database_now(),
        }
        for order in new
    ]
    at: datetime = max(await insert_each_once(connection, orders, rows, orders.c.created_at))
    return at


async def insert_sagas(connection: AsyncConnection, new: Sequence[Saga]) -> None:
    """Insert the rows of sagas that have begun."""
    if new:
        await connection.execute(_INSERT_SAGA, [_columns(saga) for saga in new])


async def write_sagas(connection: AsyncConnection, moved: Sequence[Saga]) -> None:
    """Update the rows of moved sagas, each from the version before.

    Raises:
        ConcurrentUpdate: a row no longer has the version before.
    """
    rows = [_columns(saga) | {"of_saga": saga.saga_id, "before": saga.version - 1} for saga in moved]
    if await update_each(connection, sagas, rows, {"of_saga": sagas.c.saga_id, "before": sagas.c.version}) != len(rows):
        message = f"saga {moved[0].saga_id} was moved by another transaction"
        raise ConcurrentUpdate(message if len(rows) == 1 else f"{message}, or another one of {len(rows)}")


async def hold_sagas(connection: AsyncConnection, saga_ids: Collection[str]) -> dict[str, LockedSaga]:
    """Read the rows of sagas with their orders, by saga, and lock them in their order until the transaction ends."""
    found = await connection.execute(_HOLD_SAGAS, {"names": [[saga_id] for saga_id in saga_ids]})
    return {held.saga.saga_id: held for row in found if (held := _held(row))}


async def hold_saga(connection: AsyncConnection, saga_id: str) -> LockedSaga | None:
    """Read a saga's row with its order, and lock it until the transaction ends."""
    return (await hold_sagas(connection, [saga_id])).get(saga_id)


async def hold_saga_of(connection: AsyncConnection, order_id: str) -> LockedSaga | None:
    """Read the row of an order's saga with the order, and lock it until the transaction ends."""
    return _held((await connection.execute(_HOLD_SAGA_OF, {"name": order_id})).one_or_none())


async def read_saga(connection: AsyncConnection, saga_id: str) -> Saga | None:
    """Read a saga's row."""
    return _saga((await connection.execute(select(sagas).where(sagas.c.saga_id == saga_id))).one_or_none())


async def read_saga_of(connection: AsyncConnection, order_id: str) -> Saga | None:
    """Read the row of an order's saga."""
    return _saga((await connection.execute(select(sagas).where(sagas.c.order_id == order_id))).one_or_none())


async def read_end(connection: AsyncConnection, saga_id: str, moved_by: Input) -> Saga | None:
    """Read a saga, or its refund, as it was when an input ended it; None if that input ended nothing."""
    moved = (history.c.input == moved_by) & (history.c.state != history.c.state_from)
    ended = (history.c.saga_id == saga_id) & moved & history.c.state.in_(list(ENDS))
    query = select(sagas, history.c.state.label("end"), history.c.at).join_from(sagas, history).where(ended)
    row = (await connection.execute(query.order_by(history.c.id.desc()).limit(1))).one_or_none()
    saga = _saga(row)
    if row is None or saga is None:
        return None
    end = SagaState(row.end)
    began = saga.phase_began_at if end is SagaState.REFUNDED else saga.created_at
    return replace(saga, state=end, updated_at=row.at, phase_began_at=began, ended_at=row.at)


async def list_sagas(connection: AsyncConnection, wanted: SagaFilter, limit: int) -> list[Saga]:
    """Read sagas, longest idle first."""
    query = select(sagas).order_by(sagas.c.updated_at, sagas.c.saga_id).limit(limit)
    if wanted.statuses:
        query = query.where(sagas.c.status.in_(wanted.statuses))
    if wanted.states:
        query = query.where(sagas.c.state.in_(wanted.states))
    if wanted.idle_s:
        query = query.where(sagas.c.updated_at <= database_time(-wanted.idle_s))
    return [saga for row in await connection.execute(query) if (saga := _saga(row))]


async def sagas_without_definition(connection: AsyncConnection, limit: int) -> list[tuple[str, int]]:
    """Return the ids and definitions of sagas that could still move, but whose definition this program lacks.

    A completed saga can still be refunded.
    """
    movable = _IS_OPEN | (sagas.c.status == Status.COMPLETED)
    query = select(sagas.c.saga_id, sagas.c.definition).where(movable & sagas.c.definition.not_in(DEFINITIONS))
    found = await connection.execute(query.order_by(sagas.c.updated_at).limit(limit))
    return [(row.saga_id, row.definition) for row in found]


async def open_sagas(connection: AsyncConnection) -> Mapping[tuple[SagaState, Status], int]:
    """Count the sagas that have not ended, by state and status."""
    query = select(sagas.c.state, sagas.c.status, func.count()).where(_IS_OPEN)
    found = await connection.execute(query.group_by(sagas.c.state, sagas.c.status))
    return {(SagaState(state), Status(status)): count for state, status, count in found}


async def oldest_open_s(connection: AsyncConnection) -> float:
    """Return for how many seconds the oldest open saga has been open; 0 if none is.

    A refund opens a saga again, and counts from there.
    """
    oldest = select(func.min(sagas.c.phase_began_at)).where(_IS_OPEN).scalar_subquery()
    found = (await connection.execute(select(oldest.label("oldest"), database_now().label("now")))).one()
    return max(0.0, (found.now - found.oldest).total_seconds()) if found.oldest else 0.0


async def overdue_s(connection: AsyncConnection) -> float:
    """Return for how many seconds the earliest deadline has passed; 0 if none has."""
    earliest = select(func.min(sagas.c.deadline)).where(sagas.c.deadline.is_not(None)).scalar_subquery()
    found = (await connection.execute(select(earliest.label("earliest"), database_now().label("now")))).one()
    return max(0.0, (found.now - found.earliest).total_seconds()) if found.earliest else 0.0


async def sagas_started_within(connection: AsyncConnection, seconds: float) -> list[Saga]:
    """Read the sagas that were started within the last `seconds`, oldest first."""
    query = select(sagas).where(sagas.c.created_at >= database_time(-seconds)).order_by(sagas.c.created_at)
    return [saga for row in await connection.execute(query) if (saga := _saga(row))]


def history_of(
    saga: Saga, *, moved_by: Input, verdict: str, state_from: SagaState, actor: str | None = None
) -> HistoryRow:
    """Return an entry for a saga's history, with the current span."""
    span = trace.get_current_span().get_span_context()
    return {
        "saga_id": saga.saga_id,
        "sequence": saga.version,
        "input": moved_by,
        "verdict": verdict,
        "actor": actor,
        "state_from": state_from,
        "state": saga.state,
        "attempt": saga.attempt,
        "trace_id": trace.format_trace_id(span.trace_id) if span.is_valid else None,
        "span_id": trace.format_span_id(span.span_id) if span.is_valid else None,
    }


async def add_history(connection: AsyncConnection, entries: Sequence[HistoryRow]) -> None:
    """Append to the history of sagas, in the order given."""
    if entries:
        await connection.execute(_ADD_HISTORY, entries)


async def read_history(connection: AsyncConnection, saga_id: str) -> Sequence[Mapping[str, Any]]:
    """Read a saga's history, oldest first."""
    found = await connection.execute(select(history).where(history.c.saga_id == saga_id).order_by(history.c.id))
    return [{key: value for key, value in row.items() if key not in {"id", "saga_id"}} for row in found.mappings()]


async def claim_key(connection: AsyncConnection, key: str, fingerprint: str, order_id: str) -> tuple[str, str] | None:
    """Claim an idempotency key for an order, or return the fingerprint and the order that already have it."""
    values = {"key": key, "fingerprint": fingerprint, "order_id": order_id, "created_at": database_now()}
    if await insert_once(connection, idempotency_keys, **values):
        return None
    query = select(idempotency_keys.c.fingerprint, idempotency_keys.c.order_id).where(idempotency_keys.c.key == key)
    row = (await connection.execute(query)).one_or_none()
    if row is None:  # it was pruned in between
        return await claim_key(connection, key, fingerprint, order_id)
    return row.fingerprint, row.order_id


async def prune_keys(connection: AsyncConnection, retention_s: float) -> int:
    """Delete idempotency keys that were claimed longer ago than `retention_s` seconds, and return how many.

    A request that comes with one of them after that is a new order.
    """
    old = idempotency_keys.c.created_at < database_time(-retention_s)
    return (await connection.execute(delete(idempotency_keys).where(old))).rowcount


async def read_sagas(connection: AsyncConnection, saga_ids: Collection[str]) -> list[Saga]:
    """Read the rows of these sagas."""
    found = await connection.execute(_READ_SAGAS, {"names": [[saga_id] for saga_id in saga_ids]})
    return [saga for row in found if (saga := _saga(row))]


async def start_deadlines(connection: AsyncConnection, awaiting: Sequence[tuple[Saga, float]]) -> None:
    """Set the deadlines of sagas that still await the same command, each in so many seconds from now.

    The rows are found by saga: a command's id has no index, and every row would be searched.
    """
    rows = [[saga.saga_id, saga.command_id.hex, seconds] for saga, seconds in awaiting if saga.command_id]
    await connection.execute(_START_DEADLINES, {"awaiting": rows})


async def is_any_overdue(connection: AsyncConnection) -> bool:
    """Return whether any deadline has passed, by the database's clock."""
    return bool((await connection.execute(select(exists().where(sagas.c.deadline <= database_now())))).scalar_one())


async def overdue(connection: AsyncConnection, read_up_to: datetime, limit: int) -> list[str]:
    """Return the ids of sagas whose deadline has passed, both by the clock and by the replies read so far.

    Sagas of a definition that this program lacks are left to an instance that has it.
    """
    due = (sagas.c.deadline <= database_now()) & (sagas.c.deadline <= read_up_to) & sagas.c.definition.in_(DEFINITIONS)
    found = await connection.execute(select(sagas.c.saga_id).where(due).order_by(sagas.c.deadline).limit(limit))
    return list(found.scalars())


async def record_progress(connection: AsyncConnection, partition: int, age_s: float) -> None:
    """Record that a partition of the replies was read up to `age_s` seconds ago."""
    moment = database_time(-age_s)
    if not await insert_once(connection, reply_progress, partition=partition, read_up_to=moment):
        row = reply_progress.c.partition == partition
        await connection.execute(update(reply_progress).where(row).values(read_up_to=moment))


async def progress(connection: AsyncConnection, partitions: Collection[int]) -> datetime | None:
    """Return the time up to which all of these partitions have been read; None until each has been read once.

    The rows of other partitions don't count: the topic that had them is gone.
    """
    rows = (await connection.execute(select(reply_progress))).all()
    moments = [row.read_up_to for row in rows if row.partition in partitions]
    return min(moments) if moments and len(moments) == len(partitions) else None


def _columns(saga: Saga) -> dict[str, Any]:
    return asdict(saga) | {"status": saga.status}


_ROWS = select(sagas, orders, database_now().label("now")).join_from(sagas, orders)


# Built once: building a statement costs more than executing it.
_INSERT_SAGA = insert(sagas)
_HOLD_SAGA_OF = _ROWS.where(sagas.c.order_id == bindparam("name")).with_for_update(of=sagas)
_NAMED = sagas.c.saga_id.in_(select(*rows_of_json("names", String)))
_HOLD_SAGAS = _ROWS.where(_NAMED).order_by(sagas.c.saga_id).with_for_update(of=sagas)
_ADD_HISTORY = insert(history).values(at=database_now())
_READ_SAGAS = select(sagas).where(_NAMED)


def _start_deadlines() -> Executable:
    saga_id, command_id, seconds = rows_of_json("awaiting", String, Uuid, Float)
    awaited = (sagas.c.saga_id == saga_id) & (sagas.c.command_id == command_id) & ~sagas.c.needs_attention
    return update(sagas).where(awaited).values(deadline=database_time(seconds))


_START_DEADLINES = _start_deadlines()


def _held(row: Row[Any] | None) -> LockedSaga | None:
    saga = _saga(row)
    if row is None or saga is None:
        return None
    # The statement may have waited for the lock, but its clock is that of its start.
    return LockedSaga(saga, _order(row), max(row.now, saga.updated_at))


def _order(row: Row[Any]) -> Order:
    values = {column.name: row._mapping[column] for column in orders.c}  # noqa: SLF001  SQLAlchemy's public name for it
    return Order(
        order_id=values["order_id"],
        customer_id=values["customer_id"],
        items=tuple(Item.model_validate(item) for item in values["items"]),
        total=Money(amount=values["total_amount"], currency=values["currency"]),
        payment_method=values["payment_method"],
        delivery_window=_window(values["deliver_after"], values["deliver_before"]),
    )


def _window(earliest: datetime | None, latest: datetime | None) -> DeliveryWindow | None:
    return DeliveryWindow(earliest=earliest, latest=latest) if earliest and latest else None


def _saga(row: Row[Any] | None) -> Saga | None:
    if row is None:
        return None
    values = {column.name: row._mapping[column] for column in sagas.c}  # noqa: SLF001  SQLAlchemy's public name for it
    del values["status"]
    values["state"] = SagaState(values["state"])
    values["requested"] = Input(values["requested"]) if values["requested"] else None
    return Saga(**values)
