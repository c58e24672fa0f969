"""The payment service's SQL: each function takes the caller's connection and returns frozen values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import Row, String, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts import Money
from services.contracts.commands import ChargePayment, RefundPayment, Step
from services.messaging.storage import database_now, database_time, hold_or_insert_each, rows_of_json, update_each
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


async def states_of(connection: AsyncConnection, saga_ids: Sequence[str]) -> dict[tuple[str, str], ChargeState]:
    """Return where the charges of sagas stand, by saga and step, without a lock; a new charge is left out."""
    rows = await connection.execute(_STATES, {"names": [[saga_id] for saga_id in saga_ids]})
    return {(row.saga_id, row.step): ChargeState(row.state) for row in rows}


async def hold(connection: AsyncConnection, commands: Sequence[ChargePayment | RefundPayment]) -> dict[str, ChargeRow]:
    """Lock the charges of these commands' sagas, by saga, until the transaction ends; insert new ones if need be."""
    rows = [
        {
            "saga_id": command.saga_id,
            "step": command.payload.step,
            "order_id": command.order_id,
            "state": ChargeState.NEW,
            "trace_context": {},
            "created_at": database_now(),
            "updated_at": database_now(),
        }
        for command in sorted(commands, key=lambda command: command.saga_id)
    ]
    return {row.saga_id: ChargeRow.of(row) for row in await hold_or_insert_each(connection, charges, rows)}


async def save(connection: AsyncConnection, held: Sequence[ChargeRow]) -> None:
    """Write locked charges."""
    rows = [
        {
            "of_saga": charge.saga_id,
            "of_step": charge.step,
            "state": charge.state,
            "reason": charge.reason,
            "amount": charge.amount and charge.amount.amount,
            "currency": charge.amount and charge.amount.currency,
            "trace_context": charge.trace_context,
            "updated_at": database_now(),
        }
        for charge in held
    ]
    await update_each(connection, charges, rows, _IS)


async def prune(connection: AsyncConnection, retention_s: float) -> int:
    """Delete tombstones and refusals older than `retention_s` seconds, which no command can reach any more."""
    over = charges.c.state.in_([ChargeState.DECLINED, ChargeState.REFUNDED])
    old = over & (charges.c.updated_at < database_time(-retention_s))
    return (await connection.execute(delete(charges).where(old))).rowcount


# Built once: building a statement costs more than executing it.
_IS = {"of_saga": charges.c.saga_id, "of_step": charges.c.step}
_STATES = select(charges.c.saga_id, charges.c.step, charges.c.state).where(
    charges.c.saga_id.in_(select(*rows_of_json("names", String)))
)
