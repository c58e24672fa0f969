"""A service that is killed in the middle of a message: what it had not exported is shipped by the next process."""

import signal
from functools import partial
from pathlib import Path

import pytest

from services.cli.children import Child
from services.cli.order_api import PlacedOrder
from services.cli.receiver import Receiver
from services.cli.run import Service
from services.cli.scenarios import SCENARIOS
from services.cli.traces.check import check
from services.cli.traces.model import Span, once
from services.cli.traces.recording import Recording
from services.messaging.crash_points import CrashPoint, Side, Write
from services.messaging.topology import create_topics
from services.oms.writes import OmsWrite
from services.payment.writes import PaymentWrite
from tests.chaos.system import BROKER
from tests.servers.pool import Servers
from tests.support.eventually import eventually
from tests.support.running import runner

# The process that is killed exports nothing by itself: what is not in its journal dies with it.
DYING = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}
SHARED = {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_METRICS_EXPORTER": "none", "SAGATRACE_CONSUMER_SESSION_TIMEOUT": "1"}
POINTS = {
    # The first answer has moved the saga, and its offset is not committed.
    Service.OMS: CrashPoint(OmsWrite.REPLY, Side.AFTER),
    # The charge is committed with its answer, and its offset is not.
    Service.PAYMENT: CrashPoint(PaymentWrite.CHARGE, Side.AFTER),
    # The answer is with the broker, and its row does not say so.
    Service.INVENTORY: CrashPoint(Write.OUTBOX_SEND, Side.AFTER),
}


def spans_of(recording: Recording, placed: PlacedOrder) -> list[Span]:
    """Return the spans of an order's trace, each once."""
    return [span for span in once(recording.spans()) if span.trace_id == placed.trace_id]


def is_whole(recording: Recording, placed: PlacedOrder) -> bool:
    """Return whether an order is one connected trace."""
    return not check(recording.spans(), saga_id=placed.saga_id, trace_id=placed.trace_id)


def has_ended(child: Child) -> bool:
    """Return whether a process is dead."""
    return child.process.poll() is not None


@pytest.mark.timeout(120)
async def test_an_order_whose_services_are_killed_is_one_trace(tmp_path: Path, servers: Servers) -> None:
    """Three services die by SIGKILL in the middle of an order; started again, they ship what the dead had not."""
    broker = servers.kafka(BROKER)
    await create_topics(broker.bootstrap)
    recording = Recording()
    with (
        Receiver(recording) as receiver,
        runner(tmp_path, broker.bootstrap, receiver.endpoint, variables=SHARED) as services,
    ):
        dying = {
            service: services.start(service, variables={**DYING, "SAGATRACE_CRASH_AT": str(point)})
            for service, point in POINTS.items()
        }
        others = [services.start(service) for service in Service if service not in POINTS]
        services.wait_until_ready(*dying.values(), *others)
        placed = services.orders.place(SCENARIOS[0].order)
        for service in (Service.INVENTORY, Service.OMS, Service.PAYMENT):
            await eventually(partial(has_ended, dying[service]), timeout_s=20)
            assert dying[service].process.returncode == -signal.SIGKILL
            services.wait_until_ready(services.start(service))
        await eventually(partial(is_whole, recording, placed), timeout_s=20)
    assert check(recording.spans(), saga_id=placed.saga_id, trace_id=placed.trace_id) == []
    cut = {span.service for span in spans_of(recording, placed) if span.is_interrupted}
    assert cut == {"oms", "payment"}
