"""PostgreSQL fails over to a replica under all services: they follow by themselves, and no order notices."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from services.cli.run import Service
from services.messaging.topology import create_topics
from tests.servers.pool import Servers
from tests.servers.ports import HOST
from tests.servers.postgres import PostgresServer
from tests.support.books import Books
from tests.support.customers import Customers, ordering
from tests.support.databases import create_database
from tests.support.eventually import eventually
from tests.support.running import Runner, runner

pytestmark = pytest.mark.timeout(300)

_QUIET = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
# How soon what waits looks again: shorter than usual, so that the test is.
_HASTY = {"SAGATRACE_CONSUMER_LONGEST_BACKOFF": "1", "SAGATRACE_RELAY_LONGEST_BACKOFF": "1"}
_ENDED_S = 90.0


@dataclass(frozen=True)
class Cluster:
    """The services on a primary that commits only what its replica has, too."""

    primary: PostgresServer
    replica: PostgresServer
    starts: Runner
    books: Books

    async def is_ready(self) -> bool:
        """Return whether the order service says that it can work."""
        return await asyncio.to_thread(self.starts.orders.is_ready)


async def _ask(url: str, statement: str) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


async def _commit_to_both(primary: PostgresServer) -> None:
    """Acknowledge no commit that the replica does not have: what a failover must not lose."""
    await _ask(primary.url, "ALTER SYSTEM SET synchronous_standby_names = '*'")
    await _ask(primary.url, "SELECT pg_reload_conf()")


@pytest.fixture
def cluster(tmp_path: Path, servers: Servers) -> Iterator[Cluster]:
    """All services, whose `DATABASE_URL` names the primary and its replica."""
    broker, primary = servers.kafka(), servers.postgres()
    asyncio.run(create_topics(broker.bootstrap))
    url = make_url(asyncio.run(create_database(primary.url)))
    replica = servers.standby(primary)
    asyncio.run(_commit_to_both(primary))
    both = url.set(host=None, port=None).update_query_dict(
        {"host": [f"{HOST}:{server.port}" for server in (primary, replica)]}
    )
    variables = _QUIET | _HASTY | {"DATABASE_URL": both.render_as_string(hide_password=False)}
    with runner(tmp_path, broker.bootstrap, "http://127.0.0.1:1", variables=variables) as starts:
        starts.wait_until_ready(*[starts.start(service) for service in Service])
        books = Books(url.set(port=replica.port).render_as_string(hide_password=False), broker.bootstrap)
        yield Cluster(primary, replica, starts, books)


async def test_services_follow_a_failover(cluster: Cluster) -> None:
    """The primary is killed and its replica promoted: each accepted order completes once, and nothing is buried.

    In between the service is unready, the API answers nothing but 202 and 503, and every service lives on.
    """
    customers = Customers(f"http://127.0.0.1:{cluster.starts.port}")
    async with ordering(customers):
        await eventually(lambda: len(customers.accepted) > 10, timeout_s=30)
        await asyncio.to_thread(cluster.primary.kill)
        await eventually(lambda: _is_unready(cluster), timeout_s=30)
        await _ask(cluster.replica.url, "SELECT pg_promote()")
        await _ask(cluster.replica.url, "ALTER SYSTEM SET synchronous_standby_names = ''")
        await _ask(cluster.replica.url, "SELECT pg_reload_conf()")
        await eventually(cluster.is_ready, timeout_s=_ENDED_S)
        before = len(customers.accepted)
        await eventually(lambda: len(customers.accepted) > before + 5, timeout_s=30)
    # A request that waits for a connection until the replica is promoted is answered like any other.
    assert set(customers.answers) <= {202, 503}, customers.answers
    accepted = {placed.order_id for placed in customers.accepted.values()}

    async def all_completed() -> bool:
        assert await cluster.books.outcomes() == dict.fromkeys(accepted, "completed")
        return await cluster.books.unsent() == 0

    await eventually(all_completed, timeout_s=_ENDED_S)
    assert await cluster.books.effects() == dict.fromkeys(product(accepted, ("reserve", "charge")), 1)
    assert await cluster.books.dead_letters() == 0


async def _is_unready(cluster: Cluster) -> bool:
    return not await cluster.is_ready()
