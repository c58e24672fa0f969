"""The broker or the database is down for all services: nothing is lost, doubled or given up, and all goes on after."""

import asyncio
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import product
from pathlib import Path

import pytest

from services.cli.children import Child
from services.cli.run import Service
from services.messaging.topology import create_topics
from tests.servers.pool import Servers
from tests.servers.server import Server
from tests.support.books import Books, out_of_order
from tests.support.customers import Customers, ordering
from tests.support.databases import postgresql_database
from tests.support.eventually import eventually
from tests.support.running import Runner, runner

pytestmark = pytest.mark.timeout(420)

# The outage that the services' default settings are for, in seconds. A shorter one, for a quick run, shortens their
# times with it.
FULL_S = 60.0
_STEP_S = 30.0
_TIMES = {
    "SAGATRACE_CONSUMER_SESSION_TIMEOUT": 10.0,
    "SAGATRACE_CONSUMER_LONGEST_BACKOFF": 5.0,
    "SAGATRACE_PRODUCER_SEND_TIMEOUT": 10.0,
    "SAGATRACE_PRODUCER_START_TIMEOUT": 20.0,
    "SAGATRACE_PRODUCER_LONGEST_BACKOFF": 5.0,
    "SAGATRACE_RELAY_LONGEST_BACKOFF": 10.0,
}
_BROKER = {"group.min.session.timeout.ms": "1000"}
# A producer that tries on keeps what waits in its order: here the relay alone does.
_OWN = {Service.OMS: {"SAGATRACE_PRODUCER_ATTEMPTS": "1"}}
_QUIET = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
# What docker-compose.yml gives a service to end: 8 s for its parts, 5 s each for producer and flush, and a rest.
_STOP_S = 30.0
_DRAINED_S = 90.0
# How many orders are canceled while nothing can be sent.
_CANCELED = 20


@dataclass(frozen=True)
class System:
    """All services on a broker and a database of their own."""

    servers: dict[str, Server]
    starts: Runner
    spare: Child
    books: Books
    customers: Customers

    async def is_ready(self) -> bool:
        """Return whether the order service says that it is ready."""
        return await asyncio.to_thread(self.starts.orders.is_ready)


@pytest.fixture
def outage_s(pytestconfig: pytest.Config) -> float:
    """How long a server is down: `--outage SECONDS`."""
    seconds: float = pytestconfig.getoption("--outage")
    return seconds


@pytest.fixture
def system(tmp_path: Path, servers: Servers, outage_s: float, request: pytest.FixtureRequest) -> Iterator[System]:
    """The services, one of them twice, with times that are in their usual proportion to an outage of this length."""
    if request.node.callspec.params["fault"] == "freeze" and outage_s < FULL_S:
        pytest.skip("a silent broker is for a long run: --outage 60")
    broker, database = servers.kafka(_BROKER), servers.postgres()
    asyncio.run(create_topics(broker.bootstrap))
    times = {name: str(seconds * min(1.0, outage_s / FULL_S)) for name, seconds in _TIMES.items()}
    with postgresql_database(database.url) as url:
        # Over before the outage is.
        step = {"SAGATRACE_STEP_TIMEOUT": str(min(_STEP_S, 0.8 * outage_s))}
        variables = times | step | _QUIET | {"DATABASE_URL": url}
        with runner(tmp_path, broker.bootstrap, "http://127.0.0.1:1", variables=variables) as starts:
            started = [starts.start(service, variables=_OWN.get(service, {})) for service in Service]
            spare = starts.start(Service.INVENTORY, "inventory-spare")
            starts.wait_until_ready(*started, spare)
            customers = Customers(f"http://127.0.0.1:{starts.port}")
            books = Books(url, broker.bootstrap)
            yield System({"broker": broker, "database": database}, starts, spare, books, customers)


async def ends_in_time(child: Child) -> float:
    """Stop a service, and return how long that took, in seconds."""
    began = time.monotonic()
    child.process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(child.process.wait, _STOP_S)
    assert code == 0, child.last_line()
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("away", "fault", "answered"),
    [("broker", "kill", {202}), ("broker", "freeze", {202}), ("database", "kill", {202, 503})],
)
async def test_an_outage_costs_nothing_but_time(
    system: System, away: str, fault: str, answered: set[HTTPStatus], outage_s: float
) -> None:
    """An order is accepted, or refused at once; each accepted one ends as it would have, once, and without a timeout.

    A service that is told to stop meanwhile does so in time. The outbox is empty soon after, and every key's messages
    are on the broker in the order in which they were written: also those of orders that were canceled while nothing
    could be sent, of which the stock's two commands wait side by side.
    """
    server, customers, books = system.servers[away], system.customers, system.books
    async with ordering(customers):
        await eventually(lambda: len(customers.accepted) > 10, timeout_s=30)
        await asyncio.to_thread(getattr(server, fault))
        gone = datetime.now(UTC)
        await eventually(lambda: _is_unready(system), timeout_s=outage_s)
        await ends_in_time(system.spare)
        if away == "broker":
            await customers.change_their_minds(_CANCELED)
        await asyncio.sleep(max(0.0, outage_s - (datetime.now(UTC) - gone).total_seconds()))
        back = datetime.now(UTC)
        await asyncio.to_thread(server.thaw if fault == "freeze" else server.start)
        await eventually(system.is_ready, timeout_s=_DRAINED_S)
    assert set(customers.answers) == answered, customers.answers
    accepted, canceled = {placed.order_id for placed in customers.accepted.values()}, customers.canceled
    kept = accepted - canceled

    async def all_ended() -> bool:
        assert await books.outcomes() == dict.fromkeys(kept, "completed") | dict.fromkeys(canceled, "canceled")
        return await books.unsent() == 0

    # What has waited takes its time, the more the longer it was.
    await eventually(all_ended, timeout_s=_DRAINED_S + 2 * outage_s)
    await _assert_the_books_balance(books, kept, canceled)
    # While nothing can be read, no answer is late. The backlog after it may be, here and there, on a busy machine.
    timeouts = await books.inputs("timed_out")
    assert [at for at in timeouts if gone < at < back] == []
    assert len(timeouts) <= len(accepted) // 10
    assert await books.inputs("gave_up") == []


async def _is_unready(system: System) -> bool:
    return not await system.is_ready()


async def _assert_the_books_balance(books: Books, kept: set[str], canceled: set[str]) -> None:
    assert out_of_order(await books.written(), await books.arrived()) == []
    effects = [*product(kept, ("reserve", "charge")), *product(canceled, ("reserve", "release"))]
    assert await books.effects() == dict.fromkeys(effects, 1)
    assert await books.dead_letters() == 0
