"""The composition of the inventory: commands, delayed reservations, relay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.contracts.topics import INVENTORY_COMMANDS, INVENTORY_GROUP, retry_topic
from services.inventory import store
from services.inventory.delayed import DelayedReservations
from services.inventory.handlers import StockHandler
from services.inventory.settings import StockSettings
from services.inventory.writes import InventoryWrite
from services.messaging.breaker import BreakerRow
from services.messaging.consumer import Consumer
from services.messaging.dead_letters import DeadLetterLedger, dead_letter_answers
from services.messaging.outbox import Outbox, Relay, backlog_gauges
from services.messaging.producer import Producer
from services.messaging.readiness import Readiness
from services.messaging.runtime import Part, run_service
from services.messaging.settings import DatabaseSettings, KafkaSettings, RetentionSettings
from services.messaging.storage import Database, Inbox, pruning_loop, upgrade

NAME = "inventory"


@asynccontextmanager
async def parts(readiness: Readiness) -> AsyncIterator[Sequence[Part]]:
    """Open the service's database and broker, and give its parts: commands end first, the relay last."""
    url = DatabaseSettings.read().url_of(NAME)
    brokers = KafkaSettings.read().bootstrap_servers
    stock, kept = StockSettings.read(), RetentionSettings.read()
    await upgrade(url, NAME)
    database = Database(url, schema=NAME)
    inbox, outbox = Inbox(INVENTORY_GROUP), Outbox(database)
    handler = StockHandler(database, inbox, outbox, stock.plan())
    delayed = DelayedReservations(database, outbox, stock.plan())
    prunes = (outbox.prune, kept.sent), (inbox.prune, kept.inbox), (store.prune, kept.tombstones)
    try:
        async with Producer(brokers, client_id=NAME) as producer:
            yield [
                Consumer(
                    brokers,
                    INVENTORY_GROUP,
                    [INVENTORY_COMMANDS, retry_topic(INVENTORY_GROUP)],
                    handler,
                    producer=producer,
                    readiness=readiness,
                    ledger=DeadLetterLedger(database, INVENTORY_GROUP, dead_letter_answers(outbox)),
                    trips=BreakerRow(database, INVENTORY_GROUP),
                ),
                delayed.loop(stock.reservation_poll),
                pruning_loop(database, kept.interval, *prunes),
                backlog_gauges(database, outbox),
                Relay(database, outbox, producer, readiness=readiness),
            ]
    finally:
        await database.close()


async def main() -> None:
    """Run the inventory."""
    await run_service(NAME, parts, writes=InventoryWrite)
