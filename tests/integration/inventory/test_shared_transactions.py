"""Reservations that share transactions, in two instances at the same time."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import select, update

from services.contracts import Item, topics
from services.inventory.handlers import StockHandler
from services.inventory.stock import FailurePlan
from services.inventory.tables import movements, outbox, reservations, stock
from services.messaging.outbox import Outbox
from services.messaging.storage import Database, Inbox
from tests.support.commands import EUR_10, release, reserve

SAGAS = 120
SKUS = [f"sku_{letter}" for letter in "abcdefgh"]


@pytest.mark.parametrize("seed", range(3))
async def test_two_instances_never_lock_each_other(
    service_database: Callable[[str], Awaitable[str]], seed: int
) -> None:
    """Batches over the same stock, in any order of SKUs and sagas, end without a deadlock, each effect once."""
    chosen = random.Random(seed)
    url = await service_database("inventory")
    async with AsyncExitStack() as opened:
        databases = [Database(url, schema="inventory") for _ in range(2)]
        for database in databases:
            opened.push_async_callback(database.close)
        handlers = [
            StockHandler(each, Inbox(topics.INVENTORY_GROUP), Outbox(each, has_relay=True), FailurePlan())
            for each in databases
        ]
        commands = []
        for number in range(SAGAS):
            command = reserve(f"saga-{number}")
            items = tuple(Item(sku=sku, quantity=1, unit_price=EUR_10) for sku in chosen.sample(SKUS, 3))
            payload = command.payload.model_copy(update={"items": items})
            commands.append(command.model_copy(update={"payload": payload}))
        # Every command comes to both instances, and every third saga is released while others are reserved.
        calls = [(handler, command) for command in commands for handler in handlers]
        chosen.shuffle(calls)
        await asyncio.gather(*(handler(command) for handler, command in calls))
        undone = [release(f"saga-{number}") for number in range(0, SAGAS, 3)]
        more = [reserve(f"late-{number}", sku=chosen.choice(SKUS)) for number in range(SAGAS)]
        mixed = [(chosen.choice(handlers), command) for command in (*undone, *more)]
        chosen.shuffle(mixed)
        await asyncio.gather(*(handler(command) for handler, command in mixed))
        async with databases[0].reading() as connection:
            moved = (await connection.execute(select(movements))).all()
            left = {row.sku: row.quantity for row in await connection.execute(select(stock))}
            states = [row.state for row in await connection.execute(select(reservations))]
            replies = (await connection.execute(select(outbox))).all()
    assert sorted(states) == ["released"] * len(undone) + ["reserved"] * (SAGAS - len(undone) + len(more))
    assert len(replies) == SAGAS + len(undone) + len(more)
    assert left == {sku: sum(row.quantity for row in moved if row.sku == sku) for sku in left}


async def test_a_command_that_fails_costs_no_other_its_effect(
    service_database: Callable[[str], Awaitable[str]],
) -> None:
    """Commands that come with one whose row can't be read are carried out, in transactions of their own."""
    database = Database(await service_database("inventory"), schema="inventory")
    handle = StockHandler(database, Inbox(topics.INVENTORY_GROUP), Outbox(database, has_relay=True), FailurePlan())
    sagas = ("one", "two", "three")
    await handle(reserve("two"))
    async with database.transaction() as connection:
        await connection.execute(update(reservations).values(state="unheard of"))
    outcomes = await asyncio.gather(*(handle(reserve(saga)) for saga in sagas), return_exceptions=True)
    async with database.reading() as connection:
        kept = {row.saga_id: row.state for row in await connection.execute(select(reservations))}
    await database.close()
    assert [type(outcome) for outcome in outcomes] == [type(None), ValueError, type(None)]
    assert kept == {"one": "reserved", "two": "unheard of", "three": "reserved"}
