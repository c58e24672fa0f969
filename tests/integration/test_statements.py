"""What a message costs its database in statements and commits; docs/scaling.md has the same table."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from services.audit.entry import entry_of
from services.audit.handlers import AuditHandler
from services.contracts import topics
from services.inventory.handlers import StockHandler
from services.inventory.stock import FailurePlan
from services.messaging.outbox.outbox import Outbox
from services.messaging.storage.database import Database
from services.messaging.storage.inbox import Inbox
from services.messaging.storage.migrations import upgrade
from services.notification.handlers import NotificationHandler
from services.notification.sender import RecordingSender
from services.payment.gateway import GatewayPlan, SimulatedGateway
from services.payment.handlers import PaymentHandler
from services.payment.main import GATEWAY
from services.payment.settings import GatewaySettings
from tests.support.commands import charge, refund, release, reserve
from tests.support.orders import OrderService, order_service
from tests.support.records import record
from tests.support.statements import counting

Open = Callable[[str], Awaitable[Database]]


@pytest.fixture
async def opened(service_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Open]:
    """An opener of service databases."""
    async with AsyncExitStack() as stack:

        async def open_one(service: str) -> Database:
            database = Database(await service_database(service), schema=service)
            stack.push_async_callback(database.close)
            return database

        yield open_one


@pytest.fixture
async def oms(service_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[OrderService]:
    """The order service."""
    async with order_service(await service_database("oms")) as service:
        yield service


def _outbox(database: Database) -> Outbox:
    """An outbox as in a service, where its relay runs beside."""
    return Outbox(database, has_relay=True)


async def test_an_order(oms: OrderService) -> None:
    """An order is four statements: order, saga, history and all that it says; a key for repeats is one more."""
    with counting(oms.database) as found:
        await oms.place()
    assert found.counted == (4, 1)
    with counting(oms.database) as found:
        await oms.place(idempotency_key="k")
    assert found.counted == (5, 1)


async def test_an_answer(oms: OrderService) -> None:
    """An answer is five statements: inbox, saga with its order, saga, history and all that it causes."""
    await oms.place()
    for answer in ("inventory.reserved", "payment.charged"):
        with counting(oms.database) as found:
            await oms.answer(answer)
        # One to look up the command that the test answers.
        assert (len(found.texts) - 1, found.commits) == (5, 1)


async def test_a_reservation_and_its_release(opened: Open) -> None:
    """A reserve is seven statements, of which three move the stock, and its release six."""
    database = await opened("inventory")
    handle = StockHandler(database, Inbox(topics.INVENTORY_GROUP), _outbox(database), FailurePlan())
    await handle(reserve("first"))
    with counting(database) as found:
        await handle(reserve("second"))
    assert found.counted == (7, 1)
    with counting(database) as found:
        await handle(release("second"))
    assert found.counted == (6, 1)


async def test_a_charge_and_its_refund(opened: Open) -> None:
    """A charge is five statements here and three at the gateway; its refund one more there."""
    database = await opened("payment")
    url = GatewaySettings().url(database.url.render_as_string(hide_password=False))
    await upgrade(url, GATEWAY, scripts="services.payment.gateway_migrations")
    ledger = Database(url, schema=GATEWAY)
    gateway = SimulatedGateway(ledger, GatewayPlan())
    handle = PaymentHandler(database, Inbox(topics.PAYMENT_GROUP), _outbox(database), gateway)
    with counting(database) as ours, counting(ledger) as theirs:
        await handle(charge())
    assert (ours.counted, theirs.counted) == ((5, 1), (3, 1))
    with counting(database) as ours, counting(ledger) as theirs:
        await handle(refund())
    assert (ours.counted, theirs.counted) == ((5, 1), (4, 1))
    await ledger.close()


async def test_an_event_at_its_readers(opened: Open) -> None:
    """An event is two statements for each group that reads it: inbox and effect."""
    audit, notification = await opened("audit"), await opened("notification")
    trail = AuditHandler(audit, Inbox(topics.AUDIT_GROUP))
    letters = NotificationHandler(notification, Inbox(topics.NOTIFICATION_GROUP), RecordingSender())
    entry = entry_of(record(topic=topics.ORDER_EVENTS))
    with counting(audit) as found:
        await trail(entry)
    assert found.counted == (2, 1)
    with counting(notification) as found:
        await letters(entry)
    assert len(found.texts) <= 2


@pytest.mark.parametrize("waiting", [1, 8, 64])
async def test_what_waits_side_by_side_shares_its_statements(opened: Open, oms: OrderService, waiting: int) -> None:
    """However many messages wait, their statements and their commit are those of one, at every service."""
    inventory, audit, notification = await opened("inventory"), await opened("audit"), await opened("notification")
    if inventory.is_sqlite:
        pytest.skip("SQLite inserts rows one by one: it has no round trips")
    stock = StockHandler(inventory, Inbox(topics.INVENTORY_GROUP), _outbox(inventory), FailurePlan())
    await stock(reserve("first"))
    trail = AuditHandler(audit, Inbox(topics.AUDIT_GROUP))
    notices = NotificationHandler(notification, Inbox(topics.NOTIFICATION_GROUP), RecordingSender())
    entries = [entry_of(record(topic=topics.ORDER_EVENTS, offset=offset)) for offset in range(waiting)]
    with counting(inventory) as reserved, counting(audit) as audited, counting(notification) as notified:
        await asyncio.gather(*(stock(reserve(f"saga-{number}")) for number in range(waiting)))
        await asyncio.gather(*(trail(entry) for entry in entries))
        await asyncio.gather(*(notices(entry) for entry in entries))
    assert (reserved.counted, audited.counted) == ((7, 1), (2, 1))
    assert len(notified.texts) <= 2
    with counting(oms.database) as placed:
        await asyncio.gather(*(oms.place() for _ in range(waiting)))
    assert placed.counted == (4, 1)


async def test_what_the_relay_asks_does_not_grow_with_its_rows(oms: OrderService) -> None:
    """A claim, a settlement and the start of deadlines are four statements, for one order and for ten."""
    outbox = Outbox(oms.database)
    for orders in (1, 10):
        for _ in range(orders):
            await oms.place()
        with counting(oms.database) as found:
            rows = await outbox.claim(100, 60.0)
            async with oms.database.transaction() as connection:
                await oms.timeouts.commands_sent(connection, await outbox.mark_sent(connection, rows))
        assert len(rows) == 3 * orders
        assert len(found.texts) == 4


async def test_events_start_no_deadline(oms: OrderService) -> None:
    """Where no command was sent, nothing is asked about deadlines."""
    await oms.place()
    rows = await Outbox(oms.database).claim(100, 60.0)
    events = [row for row in rows if row.topic in topics.EVENT_TOPICS]
    with counting(oms.database) as found:
        async with oms.database.transaction() as connection:
            await oms.timeouts.commands_sent(connection, events)
    assert (len(events), found.texts) == (2, [])
