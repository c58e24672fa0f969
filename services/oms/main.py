"""The declaration of the order service: API, orchestrator and timeouts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.contracts.topics import ORCHESTRATOR_GROUP, SAGA_REPLIES
from services.messaging.participant import Participant, Resources, Work
from services.messaging.settings import TracingSettings
from services.oms import store
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


@asynccontextmanager
async def _work(resources: Resources) -> AsyncIterator[Work]:
    database, settings = resources.database, ApiSettings.read()
    transitions = Transitions(database, resources.outbox)
    trace_reads = TracingSettings.read().all_spans
    app = create_app(Orders(database, transitions), resources.readiness, settings.token, trace_reads=trace_reads)
    replies = resources.consumer(ReplyHandler(database, resources.inbox, transitions))
    timeouts = Timeouts(database, transitions, replies.caught_up, replies.partitions, TimeoutSettings.read())
    await check_definitions(database)
    yield Work(
        replies,
        entries=[ApiServer(app, settings)],
        loops=[timeouts.loop(), open_saga_gauges(database)],
        prunes=[(store.prune_keys, resources.retention.idempotency_keys)],
        on_sent=timeouts.commands_sent,
    )


OMS = Participant(
    name="oms",
    group=ORCHESTRATOR_GROUP,
    topics=[SAGA_REPLIES],
    work=_work,
    writes=OmsWrite,
)


async def main() -> None:
    """Run the order service."""
    await OMS.run()
