"""The composition of the payment service: commands, the simulated gateway, relay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.contracts.topics import PAYMENT_COMMANDS, PAYMENT_GROUP, retry_topic
from services.messaging.breaker import BreakerRow
from services.messaging.consumer import Consumer
from services.messaging.dead_letters import DeadLetterLedger, dead_letter_answers
from services.messaging.outbox import Outbox, Relay, backlog_gauges
from services.messaging.producer import Producer
from services.messaging.readiness import Readiness
from services.messaging.runtime import Part, run_service
from services.messaging.settings import DatabaseSettings, KafkaSettings, RetentionSettings
from services.messaging.storage import Database, Inbox, pruning_loop, upgrade
from services.payment import store
from services.payment.gateway import SimulatedGateway
from services.payment.handlers import PaymentHandler
from services.payment.settings import GatewaySettings
from services.payment.writes import PaymentWrite

NAME = "payment"
GATEWAY = "payment_gateway"


@asynccontextmanager
async def simulated_gateway(service_url: str) -> AsyncIterator[SimulatedGateway]:
    """Open the simulated gateway on its own database."""
    settings = GatewaySettings.read()
    url = settings.url(service_url)
    await upgrade(url, GATEWAY, scripts="services.payment.gateway_migrations")
    database = Database(url, schema=GATEWAY)
    try:
        yield SimulatedGateway(database, settings.plan())
    finally:
        await database.close()


@asynccontextmanager
async def parts(readiness: Readiness) -> AsyncIterator[Sequence[Part]]:
    """Open the service's databases and broker, and give its parts: commands end first, the relay last."""
    url = DatabaseSettings.read().url_of(NAME)
    brokers = KafkaSettings.read().bootstrap_servers
    kept = RetentionSettings.read()
    await upgrade(url, NAME)
    database = Database(url, schema=NAME)
    inbox, outbox = Inbox(PAYMENT_GROUP), Outbox(database)
    prunes = (outbox.prune, kept.sent), (inbox.prune, kept.inbox), (store.prune, kept.tombstones)
    try:
        async with simulated_gateway(url) as gateway, Producer(brokers, client_id=NAME) as producer:
            yield [
                Consumer(
                    brokers,
                    PAYMENT_GROUP,
                    [PAYMENT_COMMANDS, retry_topic(PAYMENT_GROUP)],
                    PaymentHandler(database, inbox, outbox, gateway),
                    producer=producer,
                    readiness=readiness,
                    ledger=DeadLetterLedger(database, PAYMENT_GROUP, dead_letter_answers(outbox)),
                    trips=BreakerRow(database, PAYMENT_GROUP),
                ),
                pruning_loop(database, kept.interval, *prunes),
                backlog_gauges(database, outbox),
                Relay(database, outbox, producer, readiness=readiness),
            ]
    finally:
        await database.close()


async def main() -> None:
    """Run the payment service."""
    await run_service(NAME, parts, writes=PaymentWrite)
