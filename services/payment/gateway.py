"""The payment gateway: its interface, and a simulated one.

The simulated gateway commits on connections of its own, before it answers, as a real one would: a process may die
between its commit and ours, and only the idempotency key heals that. The payment method chooses what fails, never
chance:

| method        | what happens                                                                             |
|---------------|------------------------------------------------------------------------------------------|
| `pm_ok`       | charged                                                                                  |
| `pm_declined` | declined, reason `declined`                                                              |
| `pm_slow`     | charged at once, answered late: the first answer of a key takes `slow_s` seconds         |
| `pm_flaky`    | busy for the first `flaky_failures` tries of a key, counted in the ledger; then charged  |
| any other     | declined, reason `unknown_method`                                                        |
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sqlalchemy import String, delete, insert, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts import Money
from services.messaging.errors import Transient
from services.messaging.loop import Loop
from services.messaging.settings import RetentionSettings
from services.messaging.storage import (
    Database,
    GroupCommit,
    Member,
    database_now,
    database_time,
    hold_or_insert_each,
    pruning_loop,
    rows_of_json,
    update_each,
)
from services.payment.charge import UNDONE
from services.payment.gateway_tables import entries, keys
from services.payment.writes import PaymentWrite


class GatewayBusy(Transient):
    """The payment gateway cannot answer now; the same key may be tried again."""


@dataclass(frozen=True)
class GatewayAnswer:
    """The gateway's answer about a key: charged, or refused for a reason."""

    refused_for: str | None = None


class Gateway(Protocol):
    """What the payment service needs of a gateway. Both calls may be repeated with the same key."""

    async def charge(self, key: str, amount: Money, method: str) -> GatewayAnswer:
        """Charge once for a key, and return the key's outcome each time.

        Raises:
            GatewayBusy: try again.
        """

    async def refund(self, key: str) -> None:
        """Pay back what was charged for a key, if anything was, and refuse the key from now on."""


class KeyState(StrEnum):
    """What became of a key."""

    NEW = "new"
    CHARGED = "charged"
    DECLINED = "declined"
    REFUNDED = "refunded"


_DECLINES: Mapping[str, str | None] = {"pm_ok": None, "pm_slow": None, "pm_flaky": None, "pm_declined": "declined"}


@dataclass(frozen=True)
class GatewayPlan:
    """How the simulated gateway fails: seconds of `pm_slow`, failed tries of `pm_flaky`."""

    slow_s: float = 2.0
    flaky_failures: int = 2


@dataclass
class _Call:
    """A call for one key, and what the ledger said."""

    key: str
    amount: Money | None = None
    method: str = ""
    state: KeyState = KeyState.NEW
    reason: str | None = None
    is_first: bool = False


class SimulatedGateway:
    """A gateway with a ledger of its own, whose calls share transactions when they come side by side.

    Args:
        database: The gateway's database, which is not the payment service's.
        plan: How it fails.
        wait: Waits for so many seconds; tests replace it.
    """

    def __init__(
        self,
        database: Database,
        plan: GatewayPlan,
        *,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._plan = plan
        self._wait = wait
        self._charges = GroupCommit(self._charge_all, key=lambda call: call.key)
        self._refunds = GroupCommit(self._refund_all, key=lambda call: call.key)

    async def charge(self, key: str, amount: Money, method: str) -> GatewayAnswer:
        """Charge once for a key, by the method's plan."""
        call = _Call(key, amount, method)
        await self._charges.add(call)
        if call.state is KeyState.NEW:
            raise GatewayBusy("the payment gateway is busy: the same key may be tried again")
        if call.is_first and method == "pm_slow":
            await self._wait(self._plan.slow_s)
        return GatewayAnswer(UNDONE if call.state is KeyState.REFUNDED else call.reason)

    async def refund(self, key: str) -> None:
        """Pay back a key's charge once; a key that was never charged is refused from now on."""
        await self._refunds.add(_Call(key))

    def pruning(self, retention: RetentionSettings) -> Loop:
        """Return the loop that deletes keys no command can reach any more; a charge can be refunded at any time."""
        return pruning_loop(self._database, retention.interval, (_prune, retention.tombstones))

    async def _charge_all(self, members: Sequence[Member[_Call]]) -> None:
        calls = [member.item for member in members]
        async with self._database.transaction(PaymentWrite.GATEWAY_CHARGE) as connection:
            tries = await _hold(connection, calls)
            new = [call for call in calls if call.state is KeyState.NEW and not self._is_busy(call, tries[call.key])]
            for call in new:
                call.is_first = True
                call.reason = _DECLINES.get(call.method, "unknown_method")
                call.state = KeyState.CHARGED if call.reason is None else KeyState.DECLINED
            charged = [call for call in new if call.state is KeyState.CHARGED]
            amounts = [(call.key, call.amount) for call in charged if call.amount]
            await _enter(connection, "charge", [(key, money.amount, money.currency) for key, money in amounts])
            await _keep(connection, new)

    async def _refund_all(self, members: Sequence[Member[_Call]]) -> None:
        calls = [member.item for member in members]
        async with self._database.transaction(PaymentWrite.GATEWAY_REFUND) as connection:
            await _hold(connection, calls)
            charged = [call.key for call in calls if call.state is KeyState.CHARGED]
            undone = [call for call in calls if call.state in {KeyState.NEW, KeyState.CHARGED}]
            for call in undone:
                call.state = KeyState.REFUNDED
            if charged:
                paid = await connection.execute(_CHARGED, {"names": [[key] for key in charged]})
                await _enter(connection, "refund", [(row.key, -row.amount, row.currency) for row in paid])
            await _keep(connection, undone)

    def _is_busy(self, call: _Call, tries: int) -> bool:
        return call.method == "pm_flaky" and tries <= self._plan.flaky_failures


async def _hold(connection: AsyncConnection, calls: Sequence[_Call]) -> dict[str, int]:
    """Lock the calls' keys, inserted if need be, write their state into the calls, and count the tries by key."""
    values = {"state": KeyState.NEW, "tries": 1, "created_at": database_now(), "updated_at": database_now()}
    rows = [values | {"key": key} for key in sorted(call.key for call in calls)]
    held = {row.key: row for row in await hold_or_insert_each(connection, keys, rows, counting="tries")}
    for call in calls:
        row = held[call.key]
        call.state, call.reason, call.is_first = KeyState(row.state), row.reason, False
    return {key: row.tries for key, row in held.items()}


async def _enter(connection: AsyncConnection, kind: str, amounts: Sequence[tuple[str, int, str]]) -> None:
    """Enter amounts into the ledger, each with its key and currency."""
    rows = [{"key": key, "kind": kind, "amount": amount, "currency": currency} for key, amount, currency in amounts]
    if rows:
        await connection.execute(_ENTER, rows)


async def _keep(connection: AsyncConnection, calls: Sequence[_Call]) -> None:
    rows = [
        {"of_key": call.key, "state": call.state, "reason": call.reason, "updated_at": database_now()} for call in calls
    ]
    await update_each(connection, keys, rows, {"of_key": keys.c.key})


async def _prune(connection: AsyncConnection, retention_s: float) -> int:
    # Literals, not parameters: SQLite must see that the partial index covers the statement.
    old = (keys.c.state != literal_column("'charged'")) & (keys.c.updated_at < database_time(-retention_s))
    return (await connection.execute(delete(keys).where(old))).rowcount


# Built once: building a statement costs more than executing it.
_ENTER = insert(entries).values(at=database_now())
_CHARGED = select(entries).where(entries.c.kind == "charge", entries.c.key.in_(select(*rows_of_json("names", String))))
