"""The composition of the notification service: order events, told to customers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.contracts.topics import NOTIFICATION_GROUP, ORDER_EVENTS, retry_topic
from services.messaging.breaker import BreakerRow
from services.messaging.consumer import Consumer
from services.messaging.dead_letters import DeadLetterLedger
from services.messaging.producer import Producer
from services.messaging.readiness import Readiness
from services.messaging.runtime import Part, run_service
from services.messaging.settings import DatabaseSettings, KafkaSettings, RetentionSettings
from services.messaging.storage import Database, Inbox, pruning_loop, upgrade
from services.notification.handlers import NotificationHandler
from services.notification.sender import RecordingSender
from services.notification.writes import NotificationWrite

NAME = "notification"


@asynccontextmanager
async def parts(readiness: Readiness) -> AsyncIterator[Sequence[Part]]:
    """Open the service's database and broker, and give its parts."""
    url = DatabaseSettings.read().url_of(NAME)
    brokers = KafkaSettings.read().bootstrap_servers
    kept = RetentionSettings.read()
    await upgrade(url, NAME)
    database = Database(url, schema=NAME)
    inbox = Inbox(NOTIFICATION_GROUP)
    try:
        async with Producer(brokers, client_id=NAME) as producer:
            yield [
                Consumer(
                    brokers,
                    NOTIFICATION_GROUP,
                    [ORDER_EVENTS, retry_topic(NOTIFICATION_GROUP)],
                    NotificationHandler(database, inbox, RecordingSender()),
                    producer=producer,
                    readiness=readiness,
                    ledger=DeadLetterLedger(database, NOTIFICATION_GROUP),
                    trips=BreakerRow(database, NOTIFICATION_GROUP),
                ),
                pruning_loop(database, kept.interval, (inbox.prune, kept.inbox)),
            ]
    finally:
        await database.close()


async def main() -> None:
    """Run the notification service."""
    await run_service(NAME, parts, writes=NotificationWrite)
