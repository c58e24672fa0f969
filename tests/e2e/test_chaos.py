"""Random kills and pauses over two instances of every service: the short form of `make chaos`, on the same parts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.killers import Killers
from tests.chaos.nursery import Nursery
from tests.chaos.report import report
from tests.chaos.run import play
from tests.chaos.system import BROKER, Parts, system
from tests.servers.jaeger import JaegerAddress
from tests.servers.pool import Servers
from tests.support.databases import postgresql_database

# Less than a minute on two cores of one's own; a shared machine is slow at times.
pytestmark = pytest.mark.timeout(900)

KILLS = 40


@pytest.fixture
def parts(servers: Servers, postgres: str, jaeger: JaegerAddress) -> Iterator[Parts]:
    """A broker that soon notices a dead member, an empty database, and Jaeger."""
    with postgresql_database(postgres) as database:
        yield Parts(servers.kafka(BROKER).bootstrap, database, jaeger.url, jaeger.otlp_http)


async def test_random_kills_lose_nothing_and_do_nothing_twice(parts: Parts, tmp_path: Path) -> None:
    """Under random kills and pauses every order ends, its audit trail is a legal history, and the ledgers balance."""
    with Nursery() as nursery, system(tmp_path, parts, nursery.start, instances=2) as services:
        killers = Killers(services.instances, KILLS, seed=1)
        left = await play(services, 1, killers.run)
    counted = report(killers, left)
    assert list(left.faults()) == []
    assert killers.deaths == []
    assert counted.is_good
    assert counted.kills >= KILLS
    # Kills that nobody noticed would prove nothing.
    assert counted.redeliveries > 0
    assert counted.duplicates_absorbed > 0
    assert counted.sagas >= KILLS // 4
