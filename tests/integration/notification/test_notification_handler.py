"""Notifications on a real database: one notice for each order event."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import select

from services.contracts import Message, Money, topics
from services.contracts.events import OrderCanceled, OrderConfirmed, OrderRefunded, OrderTotal, Reason
from services.messaging.storage.database import Database
from services.messaging.storage.inbox import Inbox
from services.notification.handlers import NotificationHandler
from services.notification.sender import RecordingSender
from services.notification.tables import notifications
from tests.support.outboxes import event

_TOTAL = OrderTotal(total=Money(amount=1000, currency="EUR"))
_CONFIRMED = OrderConfirmed(saga_id="s", order_id="a", sequence=1, payload=_TOTAL)
_CANCELED = OrderCanceled(saga_id="s", order_id="a", sequence=2, payload=Reason(reason="declined"))
_REFUNDED = OrderRefunded(saga_id="s", order_id="a", sequence=3, payload=_TOTAL)


@pytest.fixture
async def database(service_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Database]:
    """The notification service's database."""
    database_url = await service_database("notification")
    opened = Database(database_url, schema="notification")
    yield opened
    await opened.close()


async def _notices_about(database: Database, *events: Message) -> list[str]:
    """Handle events, and return the notices that went out."""
    handle = NotificationHandler(database, Inbox(topics.NOTIFICATION_GROUP), RecordingSender())
    for each in events:
        await handle(each)
    async with database.reading() as connection:
        rows = await connection.execute(select(notifications).order_by(notifications.c.sent_at))
        return sorted(row.template for row in rows)


async def test_each_order_event_is_one_notice(database: Database) -> None:
    """A customer is told once of each event, however often it is delivered."""
    sent = await _notices_about(database, _CONFIRMED, _REFUNDED, _CONFIRMED, _CANCELED, _CANCELED)
    assert sent == ["order_canceled", "order_confirmed", "order_refunded"]


async def test_other_events_are_not_notices(database: Database) -> None:
    """An event that does not concern the customer is processed, and no notice goes out."""
    assert await _notices_about(database, event("a")) == []
