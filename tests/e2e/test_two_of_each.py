"""Two instances of every service on the real parts: the work is shared, and each saga is still one trace."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from sqlalchemy import func, select

from services.audit.tables import trail
from services.cli.order_api import OrderApi, PlacedOrder
from services.cli.run import Service
from services.cli.scenarios import SCENARIOS, Scenario
from services.cli.traces.check import ENDS
from services.messaging.storage.database import Database
from services.messaging.topology import create_topics
from tests.servers.collector import CollectorAddress
from tests.servers.jaeger import JaegerAddress
from tests.servers.pool import Servers
from tests.support.databases import postgresql_database
from tests.support.eventually import eventually
from tests.support.running import running_services

pytestmark = pytest.mark.timeout(300)

ORDERS = 100
END_S = 120.0
# What every instance says in its log when the group gives it partitions.
ASSIGNED = "consumer.assigned"


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """The URL of an empty database."""
    with postgresql_database(postgres) as url:
        yield url


async def test_two_instances_share_the_work_and_keep_one_trace_a_saga(
    tmp_path: Path, servers: Servers, database: str, collector: CollectorAddress, jaeger: JaegerAddress
) -> None:
    """Every saga ends as expected, is one trace in Jaeger that each service finds by its ids, and is audited once."""
    kafka = servers.kafka()
    await create_topics(kafka.bootstrap)
    shared = {"DATABASE_URL": database}
    run = partial(running_services, brokers=kafka.bootstrap, endpoint=collector.otlp_http, variables=shared)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with run(tmp_path / "a") as first, run(tmp_path / "b") as second:
        await eventually(partial(_is_shared, tmp_path), timeout_s=60)
        placed = await asyncio.to_thread(_place, (first, second))
        ends = {one.order_id: scenario.outcome for one, scenario in placed}
        await eventually(lambda: _outcomes(second, ends) == ends, timeout_s=END_S)
    verified = await asyncio.to_thread(_verify, database, jaeger)
    assert verified["counts"] == {"one trace": ORDERS}
    one = placed[0][0]
    for service in Service:
        for tags in ({"saga.id": one.saga_id}, {"order.id": one.order_id}):
            assert one.trace_id in _search(jaeger, service, tags), f"{service} {tags}"
    # Every saga of this load says four things: created and started, and how order and saga ended.
    assert await _audited(database) == 4 * ORDERS


def _place(apis: Sequence[OrderApi]) -> list[tuple[PlacedOrder, Scenario]]:
    """Place the orders, at both instances in turn; those that wait for a request are left out."""
    scenarios = islice(cycle(scenario for scenario in SCENARIOS if not scenario.request), ORDERS)
    return [(api.place(scenario.order), scenario) for api, scenario in zip(cycle(apis), scenarios, strict=False)]


def _outcomes(api: OrderApi, ends: dict[str, str]) -> dict[str, str]:
    return {order_id: status for order_id in ends if (status := api.status(order_id)) in ENDS}


def _is_shared(folder: Path) -> bool:
    """Return whether both instances of every consumer have partitions."""
    logs = [folder / instance / f"{service}.log" for instance in "ab" for service in Service]
    return all(_partitions(log) > 0 for log in logs)


def _partitions(log: Path) -> int:
    """Read from a service's log how many partitions it was last assigned."""
    told = [json.loads(line) for line in log.read_text().splitlines() if f'"{ASSIGNED}"' in line]
    return int(told[-1]["partitions"]) if told else 0


def _verify(database: str, jaeger: JaegerAddress) -> dict[str, Any]:
    """Run `sagatrace verify` as an operator does."""
    command = [sys.executable, "-m", "services.cli", "verify", "--jaeger", jaeger.url, "--wait", "60", "--json"]
    environment = os.environ | {"DATABASE_URL": database}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-4000:] + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _search(jaeger: JaegerAddress, service: str, tags: dict[str, str]) -> set[str]:
    """Search by tags as Jaeger's page of this version does."""
    query = urlencode({"service": service, "tags": json.dumps(tags)})
    with urlopen(f"{jaeger.url}/api/traces?{query}", timeout=100) as answer:  # noqa: S310  the test started it
        return {trace["traceID"] for trace in json.load(answer)["data"]}


async def _audited(url: str) -> int:
    database = Database(url, schema="audit")
    try:
        async with database.reading() as connection:
            return int((await connection.execute(select(func.count()).select_from(trail))).scalar_one())
    finally:
        await database.close()
