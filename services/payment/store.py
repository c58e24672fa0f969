"""The payment service's SQL: each function takes the caller's connection and returns frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import Row, and_, bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts import Message, Money
from services.contracts.commands import Step
from services.messaging.storage import database_now, database_time, hold_or_insert
from services.payment.charge import ChargeState
from services.payment.tables import charges


@dataclass(frozen=True)
class ChargeRow:
    """The row of a saga's charge."""

    saga_id: str
    step: Step
    order_id: str
    state: ChargeState
    reason: str | None
    amount: Money | None
    #: The process span of the charge; empty before there was one.
    trace_context: dict[str, str]

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """Read a row."""
        return cls(
            saga_id=row.saga_id,
            step=Step(row.step),
            order_id=row.order_id,
            state=ChargeState(row.state),
            reason=row.reason,
            amount=None if row.amount is None else Money(amount=row.amount, currency=row.currency),
            trace_context=row.trace_context,
        )


async def state_of(connection: AsyncConnection, saga_id: str, step: Step) -> ChargeState:
    """Return where a charge stands, without a lock."""
    state = await connection.scalar(_STATE, {"of_saga": saga_id, "of_step": step})
    return ChargeState.NEW if state is None else ChargeState(state)


async def hold(connection: AsyncConnection, command: Message, step: Step) -> ChargeRow:
    """Lock a saga's charge until the transaction ends; insert a new one if there is none."""
    values = {
        "saga_id": command.saga_id,
        "step": step,
        "order_id": command.order_id,
        "state": ChargeState.NEW,
        "trace_context": {},
        "created_at": database_now(),
        "updated_at": database_now(),
    }
    return ChargeRow.of(await hold_or_insert(connection, charges, values))


async def save(connection: AsyncConnection, charge: ChargeRow) -> None:
    """Write a locked charge."""
    values = {
        "state": charge.state,
        "reason": charge.reason,
        "amount": charge.amount and charge.amount.amount,
        "currency": charge.amount and charge.amount.currency,
        "trace_context": charge.trace_context,
    }
    await connection.execute(_SAVE, values | {"of_saga": charge.saga_id, "of_step": charge.step})


async def prune(connection: AsyncConnection, retention_s: float) -> int:
    """Delete tombstones and refusals older than `retention_s` seconds, which no command can reach any more."""
    over = charges.c.state.in_([ChargeState.DECLINED, ChargeState.REFUNDED])
    old = over & (charges.c.updated_at < database_time(-retention_s))
    return (await connection.execute(delete(charges).where(old))).rowcount


# Built once: building a statement costs more than executing it.
_IS = and_(charges.c.saga_id == bindparam("of_saga"), charges.c.step == bindparam("of_step"))
_STATE = select(charges.c.state).where(_IS)
_SAVE = update(charges).where(_IS).values(updated_at=database_now())
