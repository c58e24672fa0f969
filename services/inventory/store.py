"""The inventory's SQL: each function takes the caller's connection and returns frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from sqlalchemy import BigInteger, Row, Select, String, and_, bindparam, delete, insert, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts import Message
from services.contracts.commands import Step
from services.inventory.stock import FailurePlan, ReservationState
from services.inventory.tables import movements, reservations, stock
from services.messaging.storage import database_now, database_time, hold_or_insert, insert_once, rows_of_json


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
    #: The process span of the reserve; empty before there was one.
    trace_context: dict[str, str]

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
            trace_context=row.trace_context,
        )


async def hold(connection: AsyncConnection, command: Message, step: Step) -> ReservationRow:
    """Lock a saga's reservation until the transaction ends; insert a new one if there is none.

    Two first commands at the same time meet at the insert: one of them waits, and then finds what the other decided.
    """
    values = {
        "saga_id": command.saga_id,
        "step": step,
        "order_id": command.order_id,
        "state": ReservationState.NEW,
        "quantities": {},
        "trace_context": {},
        "created_at": database_now(),
        "updated_at": database_now(),
    }
    return ReservationRow.of(await hold_or_insert(connection, reservations, values))


async def save(connection: AsyncConnection, reservation: ReservationRow, *, due_in_s: float | None = None) -> None:
    """Write a locked reservation; it is due in `due_in_s` seconds, or never."""
    values = {
        "state": reservation.state,
        "reason": reservation.reason,
        "quantities": reservation.quantities,
        "command_id": reservation.command_id,
        "sequence": reservation.sequence,
        "trace_context": reservation.trace_context,
    }
    save = _SAVE if due_in_s is None else _SAVE.values(due_at=database_time(due_in_s))
    await connection.execute(save, values | _key(reservation))


async def answer_later(connection: AsyncConnection, reservation: ReservationRow) -> None:
    """Make a pending reservation answer another command; its due time stays."""
    values = {"command_id": reservation.command_id, "sequence": reservation.sequence}
    await connection.execute(_ANSWER_LATER, values | _key(reservation))


async def is_any_due(connection: AsyncConnection) -> bool:
    """Return whether any pending reservation is due."""
    return (await connection.execute(_due().limit(1))).first() is not None


async def hold_due(connection: AsyncConnection) -> ReservationRow | None:
    """Lock the pending reservation that is due first, skipping those that are locked elsewhere."""
    query = _due().order_by(reservations.c.due_at).limit(1).with_for_update(skip_locked=True)
    row = (await connection.execute(query)).one_or_none()
    return ReservationRow.of(row) if row is not None else None


async def hold_stock(connection: AsyncConnection, skus: Mapping[str, int], plan: FailurePlan) -> dict[str, int]:
    """Lock the stock of these SKUs, in their order, and return their quantities; a SKU's first use adds its stock."""
    asked = {"skus": [[sku] for sku in skus]}
    held = {row.sku: row.quantity for row in await connection.execute(_HOLD_STOCK, asked)}
    if skus.keys() <= held.keys():
        return held
    for sku in skus:
        await _seed(connection, sku, plan.first_quantity(sku))
    return {row.sku: row.quantity for row in await connection.execute(_HOLD_STOCK, asked)}


async def take(connection: AsyncConnection, reservation: ReservationRow) -> None:
    """Move a reservation's quantities out of the stock."""
    await _move(connection, reservation, "reserve", -1)


async def give_back(connection: AsyncConnection, reservation: ReservationRow) -> None:
    """Move a reservation's quantities back into the stock."""
    await _move(connection, reservation, "release", +1)


async def prune(connection: AsyncConnection, retention_s: float) -> int:
    """Delete tombstones and refusals older than `retention_s` seconds, which no command can reach any more."""
    over = reservations.c.state.in_([ReservationState.REJECTED, ReservationState.RELEASED])
    old = over & (reservations.c.updated_at < database_time(-retention_s))
    return (await connection.execute(delete(reservations).where(old))).rowcount


async def _seed(connection: AsyncConnection, sku: str, quantity: int) -> None:
    if await insert_once(connection, stock, sku=sku, quantity=quantity):
        await connection.execute(_NOTE, {"sku": sku, "kind": "seed", "quantity": quantity})


async def _move(connection: AsyncConnection, reservation: ReservationRow, kind: str, sign: int) -> None:
    changes = [(sku, sign * quantity) for sku, quantity in sorted(reservation.quantities.items())]
    effect = {"saga_id": reservation.saga_id, "step": reservation.step, "kind": kind}
    await connection.execute(_CHANGE, [{"of_sku": sku, "change": change} for sku, change in changes])
    await connection.execute(_NOTE, [effect | {"sku": sku, "quantity": change} for sku, change in changes])


def _key(reservation: ReservationRow) -> dict[str, str]:
    return {"of_saga": reservation.saga_id, "of_step": reservation.step}


def _due() -> Select[Any]:
    # A literal, not a parameter: SQLite must see that the partial index covers the query.
    pending = reservations.c.state == literal_column(f"'{ReservationState.PENDING}'")
    return select(reservations).where(pending, reservations.c.due_at <= database_now())


# Built once: building a statement costs more than executing it.
_IS = and_(reservations.c.saga_id == bindparam("of_saga"), reservations.c.step == bindparam("of_step"))
_ANSWER_LATER = update(reservations).where(_IS).values(updated_at=database_now())
_SAVE = _ANSWER_LATER.values(due_at=None)
_HOLD_STOCK = (
    select(stock).where(stock.c.sku.in_(select(*rows_of_json("skus", String)))).order_by(stock.c.sku).with_for_update()
)
_CHANGE = (
    update(stock)
    .where(stock.c.sku == bindparam("of_sku"))
    .values(quantity=stock.c.quantity + bindparam("change", type_=BigInteger))
)
_NOTE = insert(movements).values(at=database_now())
