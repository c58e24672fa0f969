"""The declaration of the notification service: order events, told to customers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.contracts.topics import NOTIFICATION_GROUP, ORDER_EVENTS
from services.messaging.participant import Participant, Resources, Work
from services.notification.handlers import NotificationHandler
from services.notification.sender import RecordingSender
from services.notification.writes import NotificationWrite


@asynccontextmanager
async def _work(resources: Resources) -> AsyncIterator[Work]:
    handler = NotificationHandler(resources.database, resources.inbox, RecordingSender())
    yield Work(resources.consumer(handler))


NOTIFICATION = Participant(
    name="notification",
    group=NOTIFICATION_GROUP,
    topics=[ORDER_EVENTS],
    work=_work,
    writes=NotificationWrite,
    sends=False,
)


async def main() -> None:
    """Run the notification service."""
    await NOTIFICATION.run()
