"""The composition of the audit: every event, into the trail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.audit.entry import entry_of
from services.audit.handlers import AuditHandler
from services.audit.writes import AuditWrite
from services.contracts.topics import AUDIT_GROUP, ORDER_EVENTS, SAGA_EVENTS, retry_topic
from services.messaging.breaker import BreakerRow
from services.messaging.consumer import Consumer
from services.messaging.dead_letters import DeadLetterLedger
from services.messaging.producer import Producer
from services.messaging.readiness import Readiness
from services.messaging.runtime import Part, run_service
from services.messaging.settings import DatabaseSettings, KafkaSettings, RetentionSettings
from services.messaging.storage import Database, Inbox, pruning_loop, upgrade

NAME = "audit"


@asynccontextmanager
async def parts(readiness: Readiness) -> AsyncIterator[Sequence[Part]]:
    """Open the service's database and broker, and give its parts. The trail itself is never pruned."""
    url = DatabaseSettings.read().url_of(NAME)
    brokers = KafkaSettings.read().bootstrap_servers
    kept = RetentionSettings.read()
    await upgrade(url, NAME)
    database = Database(url, schema=NAME)
    inbox = Inbox(AUDIT_GROUP)
    try:
        async with Producer(brokers, client_id=NAME) as producer:
            yield [
                Consumer(
                    brokers,
                    AUDIT_GROUP,
                    [ORDER_EVENTS, SAGA_EVENTS, retry_topic(AUDIT_GROUP)],
                    AuditHandler(database, inbox),
                    producer=producer,
                    readiness=readiness,
                    ledger=DeadLetterLedger(database, AUDIT_GROUP),
                    trips=BreakerRow(database, AUDIT_GROUP),
                    decode=entry_of,
                ),
                pruning_loop(database, kept.interval, (inbox.prune, kept.inbox)),
            ]
    finally:
        await database.close()


async def main() -> None:
    """Run the audit."""
    await run_service(NAME, parts, writes=AuditWrite)
