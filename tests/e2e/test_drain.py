"""SIGTERM to services under load: each drains, hands over what it has not begun, and its last spans are exported."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from services.cli.children import Child
from services.cli.order_api import PlacedOrder
from services.cli.receiver import Receiver
from services.cli.run import Service
from services.cli.scenarios import Scenario
from services.cli.traces.check import check
from services.cli.traces.findings import Finding
from services.cli.traces.model import Span
from services.cli.traces.recording import Recording
from services.messaging import semconv
from services.messaging.topology import create_topics
from tests.runs.slowness import is_within
from tests.servers.pool import Servers
from tests.support.books import Books, out_of_order
from tests.support.broker import Broker
from tests.support.customers import Customers, ordering
from tests.support.databases import postgresql_database
from tests.support.eventually import eventually
from tests.support.running import Runner, runner

# The budgets of the services: their parts, and the export of the last spans.
_BUDGET_S = 8.0 + 5.0
_FORCED = 130
_DONE_S = 60.0
_ORDERS = 30
# Nothing is exported before it is flushed, but for what fills a batch.
_ONLY_AT_THE_END = {"OTEL_BSP_SCHEDULE_DELAY": "600000", "OTEL_METRICS_EXPORTER": "none"}
_HURRIED = {
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
    "SAGATRACE_CONSUMER_SESSION_TIMEOUT": "6",
}
_GAVE_UP_WAITING = ("consumer.drain_timeout", "outbox.drain_timeout", "service.stop_timeout", "consumer.leave_failed")
_SLOW = Scenario("slow", outcome="completed", payment_method="pm_slow")


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """The URL of an empty database."""
    with postgresql_database(postgres) as url:
        yield url


@pytest.mark.timeout(180)
async def test_a_drain_under_load_leaves_nothing_behind(tmp_path: Path, servers: Servers, database: str) -> None:
    """All services get SIGTERM amid their work, and end in time; their successors do the rest, and repeat nothing.

    Every saga is one whole trace, although spans are exported at the end only; none of its work was absorbed as a
    duplicate.
    """
    kafka = await asyncio.to_thread(servers.kafka)
    await create_topics(kafka.bootstrap)
    recording = Recording()
    with (
        Receiver(recording) as receiver,
        runner(
            tmp_path, kafka.bootstrap, receiver.endpoint, variables=_ONLY_AT_THE_END | {"DATABASE_URL": database}
        ) as starts,
    ):
        books = Books(database, kafka.bootstrap)
        first = await _all_started(starts, "first")
        customers = Customers(f"http://127.0.0.1:{starts.port}", thinks_s=0.05)
        async with ordering(customers):
            await eventually(lambda: len(customers.accepted) > _ORDERS, timeout_s=_DONE_S)
            await _drain(first)
            second = await _all_started(starts, "second")
            least = len(customers.accepted) + _ORDERS
            await eventually(lambda: len(customers.accepted) > least, timeout_s=_DONE_S)
        placed = list(customers.accepted.values())
        await eventually(lambda: _all_is_done(books, {one.order_id for one in placed}), timeout_s=_DONE_S)
        assert await books.dead_letters() == 0
        assert out_of_order(await books.written(), await books.arrived()) == []
        await _drain(second)
    spans = recording.spans()
    assert [span for span in spans if span.attributes.get(semconv.SAGATRACE_DUPLICATE)] == []
    assert [finding for one in placed for finding in _findings(one, spans)] == []


@pytest.mark.timeout(120)
@pytest.mark.brokers("embedded")
async def test_a_second_signal_forces_a_service_that_works(tmp_path: Path, broker: Broker, database: str) -> None:
    """At a second SIGTERM a service ends at once and leaves its message, which its successor processes once."""
    variables = _HURRIED | {"SAGATRACE_GATEWAY_SLOW": "60"}
    with runner(tmp_path, broker, "http://127.0.0.1:1", variables=variables | {"DATABASE_URL": database}) as starts:
        books = Books(database, broker)
        working = [starts.start(service) for service in (Service.OMS, Service.INVENTORY, Service.PAYMENT)]
        starts.wait_until_ready(*working)
        order = starts.orders.place(_SLOW.order).order_id
        # The gateway has taken the money, and does not answer.
        await eventually(lambda: _is_charged(books, order), timeout_s=_DONE_S)
        payment = working[-1].process
        payment.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            await asyncio.to_thread(payment.wait, 1.0)
        payment.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(payment.wait, 30.0) == _FORCED
        assert await books.outcomes() == {order: "running"}
        starts.start(Service.PAYMENT, "payment-again")
        await eventually(lambda: _all_is_done(books, {order}), timeout_s=_DONE_S)


async def _all_started(starts: Runner, generation: str) -> Sequence[Child]:
    started = [starts.start(service, f"{service}-{generation}") for service in Service]
    await asyncio.to_thread(starts.wait_until_ready, *started)
    return started


async def _drain(services: Sequence[Child]) -> None:
    """Send SIGTERM to all services at once; each ends within its budgets, and gives nothing up."""
    began = time.monotonic()
    for child in services:
        child.process.send_signal(signal.SIGTERM)
    for child in services:
        assert await asyncio.to_thread(child.process.wait, 20 * _BUDGET_S) == 0, child.last_line()
        assert [event for event in _GAVE_UP_WAITING if child.has_logged(event)] == [], child.name
        assert child.has_logged("service.stopped"), child.name
    assert is_within(time.monotonic() - began, _BUDGET_S)


def _findings(saga: PlacedOrder, spans: Sequence[Span]) -> list[Finding]:
    """Check a saga's trace, and all other spans that name the saga."""
    own = [one for one in spans if one.trace_id == saga.trace_id or one.text(semconv.SAGA_ID) == saga.saga_id]
    return check(own, saga_id=saga.saga_id, trace_id=saga.trace_id)


async def _is_charged(books: Books, order: str) -> bool:
    return (await books.effects())[order, "charge"] == 1


async def _all_is_done(books: Books, orders: set[str]) -> bool:
    """Return whether each order's saga has completed, with each effect once and all its events sent."""
    assert await books.outcomes() == dict.fromkeys(orders, "completed")
    assert await books.effects() == {(order, kind): 1 for order in orders for kind in ("reserve", "charge")}
    return await books.unsent() == 0
