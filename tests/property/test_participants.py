"""Any commands in any order, delivered any number of times: stock and money move once, and back once."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from services.contracts import Message, topics
from services.contracts.commands import ChargePayment, RefundPayment, ReleaseStock, ReserveStock
from services.inventory import tables as inventory_tables
from services.inventory.handlers import StockHandler
from services.inventory.stock import FailurePlan
from services.messaging.errors import Transient
from services.messaging.outbox.outbox import Outbox
from services.messaging.storage.database import Database
from services.messaging.storage.inbox import Inbox
from services.payment import gateway_tables
from services.payment import tables as payment_tables
from services.payment.gateway import GatewayPlan, SimulatedGateway
from services.payment.handlers import PaymentHandler
from tests.runs.sizes import size
from tests.support.commands import charge, refund, release, reserve
from tests.support.databases import create_tables, sqlite_url
from tests.support.replies import Reply, replies_in

_SKUS = st.sampled_from(["sku_a", "sku_none"])
_METHODS = st.sampled_from(["pm_ok", "pm_declined", "pm_flaky"])
_STOCK_COMMANDS = st.one_of(st.builds(lambda sku: reserve(sku=sku, quantity=3), _SKUS), st.builds(release))
_MONEY_COMMANDS = st.one_of(st.builds(lambda method: charge(method=method), _METHODS), st.builds(refund))


def _deliveries(commands: st.SearchStrategy[Message]) -> st.SearchStrategy[list[Message]]:
    """Commands in any order, each delivered once or more, now or later."""
    return st.lists(commands, min_size=1, max_size=5).flatmap(
        lambda sent: st.lists(st.sampled_from(sent), max_size=5).map(lambda again: sent + again),
    )


@settings(max_examples=size(12, 40))
@given(_deliveries(_STOCK_COMMANDS))
def test_stock_balances(commands: list[Message]) -> None:
    """The stock is down by what stays reserved, and only if no release came after."""
    taken, said = asyncio.run(_run_inventory(commands))
    assert taken == (3 if _stands(commands, said, "inventory.reserved", ReleaseStock) else 0)
    _each_attempt_is_answered_once(commands, said)
    _nothing_follows_an_undo(said, "inventory.reserved", "inventory.released")


@settings(max_examples=size(12, 40))
@given(_deliveries(_MONEY_COMMANDS))
def test_money_balances(commands: list[Message]) -> None:
    """The gateway holds the amount once if the charge stands, and nothing if a refund came after."""
    held, said = asyncio.run(_run_payment(commands))
    assert held == (1000 if _stands(commands, said, "payment.charged", RefundPayment) else 0)
    _nothing_follows_an_undo(said, "payment.charged", "payment.refunded")


def _stands(commands: Sequence[Message], said: Sequence[Reply], done: str, undo: type[Message]) -> bool:
    return any(reply.type == done for reply in said) and not any(isinstance(each, undo) for each in commands)


def _each_attempt_is_answered_once(commands: Sequence[Message], said: Sequence[Reply]) -> None:
    attempts = [each.payload.command_id for each in commands if isinstance(each, ReserveStock | ReleaseStock)]
    assert sorted(reply.command_id for reply in said) == sorted({str(attempt) for attempt in attempts})


def _nothing_follows_an_undo(said: Sequence[Reply], done: str, undone: str) -> None:
    types = [reply.type for reply in said]
    if undone in types:
        assert done not in types[types.index(undone) :]


async def _run_inventory(commands: Sequence[Message]) -> tuple[int, list[Reply]]:
    """Handle commands with 100 of each SKU; return how much is taken, and the replies."""
    with TemporaryDirectory() as folder:
        database = Database(sqlite_url(Path(folder)))
        await create_tables(database, inventory_tables.metadata)
        plan = FailurePlan(quantity=100)
        handle = StockHandler(database, Inbox(topics.INVENTORY_GROUP), Outbox(database), plan)
        for command in commands:
            await handle(command)
        movements = inventory_tables.movements.c
        async with database.reading() as connection:
            moved = await connection.scalar(select(func.sum(movements.quantity)).where(movements.kind != "seed"))
        said = await replies_in(database)
        await database.close()
    return -(moved or 0), said


async def _run_payment(commands: Sequence[Message]) -> tuple[int, list[Reply]]:
    """Handle commands, again while the gateway is busy; return what it holds, and the replies."""
    with TemporaryDirectory() as folder:
        database, ledger = Database(sqlite_url(Path(folder))), Database(sqlite_url(Path(folder), "gateway"))
        await create_tables(database, payment_tables.metadata)
        await create_tables(ledger, gateway_tables.metadata)
        gateway = SimulatedGateway(ledger, GatewayPlan(flaky_failures=2))
        handle = PaymentHandler(database, Inbox(topics.PAYMENT_GROUP), Outbox(database), gateway)
        for command in commands:
            await _deliver(handle, command)
        async with ledger.reading() as connection:
            held = await connection.scalar(select(func.sum(gateway_tables.entries.c.amount)))
        said = await replies_in(database)
        await database.close()
        await ledger.close()
    return held or 0, said


async def _deliver(handle: PaymentHandler, command: Message) -> None:
    for _ in range(3):
        try:
            return await handle(command)
        except Transient:
            assert isinstance(command, ChargePayment)
    raise AssertionError("the gateway was busy more often than its plan says")
