"""What grows has an end: a running service deletes what is past its retention, and keeps what is still needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Column, Table, insert, select

from services.messaging.loop import Loop
from services.messaging.participant import Participant
from services.messaging.readiness import Readiness
from services.messaging.storage.database import Database
from services.messaging.storage.migrations import upgrade
from services.oms.main import OMS
from services.oms.tables import idempotency_keys
from services.payment.gateway import KeyState
from services.payment.gateway_tables import keys
from services.payment.main import PAYMENT
from services.payment.settings import GatewaySettings
from tests.support.broker import Broker
from tests.support.eventually import eventually
from tests.support.orders import order_service

DAY = timedelta(days=1)

pytestmark = pytest.mark.brokers("embedded")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str, broker: Broker) -> None:
    """The service's database and broker."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker)
    monkeypatch.setenv("SAGATRACE_API_PORT", "0")


@asynccontextmanager
async def pruning(participant: Participant) -> AsyncIterator[None]:
    """Run what a service prunes."""
    async with participant.parts(Readiness()) as parts:
        loops = [part for part in parts if isinstance(part, Loop) and part.name == "pruning"]
        tasks = [asyncio.create_task(loop.run()) for loop in loops]
        yield
        for loop, task in zip(loops, tasks, strict=True):
            await loop.stop()
            await asyncio.wait_for(task, 300)


async def are_left(database: Database, column: Column[str], *expected: str) -> bool:
    """Return whether exactly these keys are left."""
    async with database.reading() as connection:
        return set((await connection.execute(select(column))).scalars()) == set(expected)


async def fill(database: Database, table: Table, rows: list[dict[str, object]]) -> None:
    """Insert rows."""
    async with database.transaction() as connection:
        await connection.execute(insert(table), rows)


async def test_idempotency_keys_are_pruned(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is kept for 30 days, which a setting changes, and is then free for another order."""
    async with order_service(database_url) as oms:
        now = datetime.now(UTC)
        ages = {"old": now - 31 * DAY, "month": now - 29 * DAY, "new": now}
        rows = [{"key": key, "fingerprint": "f", "order_id": "o", "created_at": at} for key, at in ages.items()]
        await fill(oms.database, idempotency_keys, rows)
        async with pruning(OMS):
            await eventually(lambda: are_left(oms.database, idempotency_keys.c.key, "month", "new"), 30)
        monkeypatch.setenv("SAGATRACE_RETENTION_IDEMPOTENCY_KEYS", "86400")
        async with pruning(OMS):
            await eventually(lambda: are_left(oms.database, idempotency_keys.c.key, "new"), 30)
        placed = await oms.place(idempotency_key="old")
        assert (await oms.place(idempotency_key="old")).order_id == placed.order_id


async def test_the_gateway_keeps_the_keys_of_charges(database_url: str) -> None:
    """The gateway forgets refused and refunded keys after the tombstones' 90 days; charged ones stay."""
    url = GatewaySettings().url(database_url)
    await upgrade(url, "payment_gateway", scripts="services.payment.gateway_migrations")
    ledger, now = Database(url, schema="payment_gateway"), datetime.now(UTC)
    rows = [
        {"key": f"{state}-{days}", "state": state, "tries": 1, "created_at": now, "updated_at": now - days * DAY}
        for state in KeyState
        for days in (89, 91)
    ]
    await fill(ledger, keys, rows)
    kept = [*(f"{state}-89" for state in KeyState), "charged-91"]
    async with pruning(PAYMENT):
        await eventually(lambda: are_left(ledger, keys.c.key, *kept), 30)
    await ledger.close()
