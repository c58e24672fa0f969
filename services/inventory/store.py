"""The inventory's SQL: each function takes the caller's connection and returns frozen values."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from sqlalchemy import BigInteger, Row, Select, String, bindparam, delete, insert, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts.commands import ReleaseStock, ReserveStock, Step
from services.inventory.stock import FailurePlan, ReservationState, Shelf
from services.inventory.tables import movements, reservations, stock
from services.messaging.storage import (
    database_now,
    database_time,
    hold_or_insert_each,
    insert_once,
    rows_of_json,
    update_each,
)


@dataclass(frozen=True)
class ReservationRow:
    """The row of a saga's reservation."""

    saga_id: str
    step: Step
    order_id: str
    state: ReservationState
    reason: str | None
    quantities: dict[str, int]
    command_id: UUID | None
    sequence: int | None
    due_at: datetime | None
    #: The process span of the reserve; empty before there was one.
    trace_context: dict[str, str]
    created_at: datetime

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """Read a row."""
        return cls(
            saga_id=row.saga_id,
            step=Step(row.step),
            order_id=row.order_id,
            state=ReservationState(row.state),
            reason=row.reason,
            quantities=row.quantities,
            command_id=row.command_id,
            sequence=row.sequence,
            due_at=row.due_at,
            trace_context=row.trace_context,
            created_at=row.created_at,
        )


async def hold(
    connection: AsyncConnection, commands: Sequence[ReserveStock | ReleaseStock]
) -> dict[str, ReservationRow]:
    """Lock the reservations of these commands' sagas, by saga; insert a new one where there is none.

    Two first commands at the same time meet at the insert: one of them waits, and then finds what the other decided.
    """
    rows = [
        {
            "saga_id": command.saga_id,
            "step": command.payload.step,
            "order_id": command.order_id,
            "state": ReservationState.NEW,
            "quantities": {},
            "trace_context": {},
            "created_at": database_now(),
            "updated_at": database_now(),
        }
        for command in sorted(commands, key=lambda command: command.saga_id)
    ]
    return {row.saga_id: ReservationRow.of(row) for row in await hold_or_insert_each(connection, reservations, rows)}


async def save(connection: AsyncConnection, held: Sequence[ReservationRow]) -> None:
    """Write locked reservations."""
    rows = [
        {
            "of_saga": reservation.saga_id,
            "of_step": reservation.step,
            "state": reservation.state,
            "reason": reservation.reason,
            "quantities": reservation.quantities,
            "command_id": reservation.command_id,
            "sequence": reservation.sequence,
            "due_at": reservation.due_at,
            "trace_context": reservation.trace_context,
            "updated_at": database_now(),
        }
        for reservation in held
    ]
    await update_each(connection, reservations, rows, _IS)


async def is_any_due(connection: AsyncConnection) -> bool:
    """Return whether any pending reservation is due."""
    return (await connection.execute(_due().limit(1))).first() is not None


async def hold_due(connection: AsyncConnection) -> ReservationRow | None:
    """Lock the pending reservation that is due first, skipping those that are locked elsewhere."""
    query = _due().order_by(reservations.c.due_at).limit(1).with_for_update(skip_locked=True)
    row = (await connection.execute(query)).one_or_none()
    return ReservationRow.of(row) if row is not None else None


async def hold_stock(connection: AsyncConnection, skus: Collection[str], plan: FailurePlan) -> Shelf:
    """Lock the stock of these SKUs, in their order; a SKU's first use adds its stock."""
    if not skus:
        return Shelf({})
    asked = {"skus": [[sku] for sku in sorted(skus)]}
    held = {row.sku: row.quantity for row in await connection.execute(_HOLD_STOCK, asked)}
    if held.keys() >= set(skus):
        return Shelf(held)
    for sku in sorted(skus):
        await _seed(connection, sku, plan.first_quantity(sku))
    return Shelf({row.sku: row.quantity for row in await connection.execute(_HOLD_STOCK, asked)})


async def write_movements(connection: AsyncConnection, shelf: Shelf) -> None:
    """Write how the locked stock was changed."""
    if shelf.movements:
        await connection.execute(
            _CHANGE, [{"of_sku": sku, "change": change} for sku, change in shelf.changes().items()]
        )
        await connection.execute(_NOTE, [asdict(movement) for movement in shelf.movements])


async def prune(connection: AsyncConnection, retention_s: float) -> int:
    """Delete tombstones and refusals older than `retention_s` seconds, which no command can reach any more."""
    over = reservations.c.state.in_([ReservationState.REJECTED, ReservationState.RELEASED])
    old = over & (reservations.c.updated_at < database_time(-retention_s))
    return (await connection.execute(delete(reservations).where(old))).rowcount


async def _seed(connection: AsyncConnection, sku: str, quantity: int) -> None:
    if await insert_once(connection, stock, sku=sku, quantity=quantity):
        await connection.execute(_NOTE, {"sku": sku, "kind": "seed", "quantity": quantity})


def _due() -> Select[Any]:
    # A literal, not a parameter: SQLite must see that the partial index covers the query.
    pending = reservations.c.state == literal_column(f"'{ReservationState.PENDING}'")
    return select(reservations).where(pending, reservations.c.due_at <= database_now())


# Built once: building a statement costs more than executing it.
_IS = {"of_saga": reservations.c.saga_id, "of_step": reservations.c.step}
_HOLD_STOCK = (
    select(stock).where(stock.c.sku.in_(select(*rows_of_json("skus", String)))).order_by(stock.c.sku).with_for_update()
)
_CHANGE = (
    update(stock)
    .where(stock.c.sku == bindparam("of_sku"))
    .values(quantity=stock.c.quantity + bindparam("change", type_=BigInteger))
)
_NOTE = insert(movements).values(at=database_now())
