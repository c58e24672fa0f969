"""The composition of the order service: API, orchestrator, relay and sweeper."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.contracts.topics import ORCHESTRATOR_GROUP, SAGA_REPLIES, retry_topic
from services.messaging.breaker import BreakerRow
from services.messaging.consumer import Consumer
from services.messaging.dead_letters import DeadLetterLedger
from services.messaging.outbox import Outbox, Relay, backlog_gauges
from services.messaging.producer import Producer
from services.messaging.readiness import Readiness
from services.messaging.runtime import Part, run_service
from services.messaging.settings import DatabaseSettings, KafkaSettings, RetentionSettings
from services.messaging.storage import Database, Inbox, pruning_loop, upgrade
from services.oms.api import create_app
from services.oms.definitions import check_definitions
from services.oms.handlers import ReplyHandler
from services.oms.metrics import open_saga_gauges
from services.oms.orders import Orders
from services.oms.server import ApiServer
from services.oms.settings import ApiSettings, TimeoutSettings
from services.oms.timeouts import Timeouts
from services.oms.transitions import Transitions
from services.oms.writes import OmsWrite

NAME = "oms"


@asynccontextmanager
async def parts(readiness: Readiness) -> AsyncIterator[Sequence[Part]]:
    """Open the service's database and broker, and give its parts: requests end first, the relay last."""
    url = DatabaseSettings.read().url_of(NAME)
    brokers = KafkaSettings.read().bootstrap_servers
    await upgrade(url, NAME)
    database = Database(url, schema=NAME)
    inbox, outbox = Inbox(ORCHESTRATOR_GROUP), Outbox(database)
    transitions = Transitions(database, outbox)
    listening = ApiSettings.read()
    api = ApiServer(create_app(Orders(database, transitions), readiness, listening.token), listening)
    try:
        await check_definitions(database)
        async with Producer(brokers, client_id=NAME) as producer:
            handler = ReplyHandler(database, inbox, transitions)
            replies = Consumer(
                brokers,
                ORCHESTRATOR_GROUP,
                [SAGA_REPLIES, retry_topic(ORCHESTRATOR_GROUP)],
                handler,
                producer=producer,
                readiness=readiness,
                ledger=DeadLetterLedger(database, ORCHESTRATOR_GROUP),
                trips=BreakerRow(database, ORCHESTRATOR_GROUP),
            )
            timeouts = Timeouts(database, transitions, replies.caught_up, TimeoutSettings.read())
            relay = Relay(database, outbox, producer, on_sent=timeouts.commands_sent, readiness=readiness)
            kept = RetentionSettings.read()
            prune = pruning_loop(database, kept.interval, (outbox.prune, kept.sent), (inbox.prune, kept.inbox))
            gauges = backlog_gauges(database, outbox), open_saga_gauges(database)
            yield [api, replies, timeouts.loop(), prune, *gauges, relay]
    finally:
        await database.close()


async def main() -> None:
    """Run the order service."""
    await run_service(NAME, parts, writes=OmsWrite)
