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
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sqlalchemy import bindparam, delete, insert, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts import Money
from services.messaging.errors import Transient
from services.messaging.loop import Loop
from services.messaging.settings import RetentionSettings
from services.messaging.storage import Database, database_now, database_time, hold_or_insert, pruning_loop
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


class SimulatedGateway:
    """A gateway with a ledger of its own.

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

    async def charge(self, key: str, amount: Money, method: str) -> GatewayAnswer:
        """Charge once for a key, by the method's plan."""
        async with self._database.transaction(PaymentWrite.GATEWAY_CHARGE) as connection:
            state, reason, tries = await self._hold(connection, key)
            busy = method == "pm_flaky" and tries <= self._plan.flaky_failures
            is_first = state is KeyState.NEW and not busy
            if is_first:
                state, reason = await self._decide(connection, key, amount, method)
        if state is KeyState.NEW:
            raise GatewayBusy("the payment gateway is busy: the same key may be tried again")
        if is_first and method == "pm_slow":
            await self._wait(self._plan.slow_s)
        return GatewayAnswer(UNDONE if state is KeyState.REFUNDED else reason)

    async def refund(self, key: str) -> None:
        """Pay back a key's charge once; a key that was never charged is refused from now on."""
        async with self._database.transaction(PaymentWrite.GATEWAY_REFUND) as connection:
            state, _, _ = await self._hold(connection, key)
            if state is KeyState.CHARGED:
                await self._pay_back(connection, key)
            if state in {KeyState.NEW, KeyState.CHARGED}:
                await self._keep(connection, key, KeyState.REFUNDED, None)

    def pruning(self, retention: RetentionSettings) -> Loop:
        """Return the loop that deletes keys no command can reach any more; a charge can be refunded at any time."""
        return pruning_loop(self._database, retention.interval, (_prune, retention.tombstones))

    async def _hold(self, connection: AsyncConnection, key: str) -> tuple[KeyState, str | None, int]:
        """Lock a key, inserted if need be, and count the try."""
        values = {"state": KeyState.NEW, "tries": 1, "created_at": database_now(), "updated_at": database_now()}
        row = await hold_or_insert(connection, keys, {"key": key, **values}, counting="tries")
        return KeyState(row.state), row.reason, row.tries

    async def _decide(
        self, connection: AsyncConnection, key: str, amount: Money, method: str
    ) -> tuple[KeyState, str | None]:
        reason = _DECLINES.get(method, "unknown_method")
        state = KeyState.CHARGED if reason is None else KeyState.DECLINED
        if state is KeyState.CHARGED:
            await self._enter(connection, key, "charge", amount.amount, amount.currency)
        await self._keep(connection, key, state, reason)
        return state, reason

    async def _pay_back(self, connection: AsyncConnection, key: str) -> None:
        charged = select(entries).where(entries.c.key == key, entries.c.kind == "charge")
        entry = (await connection.execute(charged)).one()
        await self._enter(connection, key, "refund", -entry.amount, entry.currency)

    @staticmethod
    async def _enter(connection: AsyncConnection, key: str, kind: str, amount: int, currency: str) -> None:
        values = {"key": key, "kind": kind, "amount": amount, "currency": currency}
        await connection.execute(_ENTER, values)

    @staticmethod
    async def _keep(connection: AsyncConnection, key: str, state: KeyState, reason: str | None) -> None:
        await connection.execute(_KEEP, {"of_key": key, "state": state, "reason": reason})


async def _prune(connection: AsyncConnection, retention_s: float) -> int:
    # Literals, not parameters: SQLite must see that the partial index covers the statement.
    old = (keys.c.state != literal_column("'charged'")) & (keys.c.updated_at < database_time(-retention_s))
    return (await connection.execute(delete(keys).where(old))).rowcount


# Built once: building a statement costs more than executing it.
_ENTER = insert(entries).values(at=database_now())
_KEEP = update(keys).where(keys.c.key == bindparam("of_key")).values(updated_at=database_now())
