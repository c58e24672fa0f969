"""Members of a group as processes that come, go and are killed while 10,000 messages flow, on Kafka and PostgreSQL."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
from aiokafka import AIOKafkaProducer
from sqlalchemy import func, select

from services.contracts import encode
from services.messaging.storage.database import Database
from tests.servers.pool import Servers
from tests.support.broker import Broker, create_topics
from tests.support.databases import SCHEMA, create_tables, postgresql_database
from tests.support.eventually import eventually
from tests.support.member import TOPIC, entries, metadata
from tests.support.records import message
from tests.support.sources import ROOT

_KEYS = 200
_EACH = 50
_IN_A_ROW = 5
_PARTITIONS = 8
_BROKER = {"group.min.session.timeout.ms": "1000"}
_VARIABLES = {
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
    # A member that was killed is missed soon, and more than one message of a partition is in hand.
    "SAGATRACE_CONSUMER_SESSION_TIMEOUT": "3",
    "SAGATRACE_CONSUMER_MAX_CONCURRENCY": "4",
}
# After how many entries who does what.
_TURNS = (
    (800, "c", "comes"),
    (2000, "a", "goes"),
    (3000, "d", "comes"),
    (4000, "b", "is killed"),
    (5500, "e", "comes"),
    (6500, "c", "is killed"),
    (8000, "d", "goes"),
)
_NEXT_S = 90.0


class Members:
    """Processes of the group.

    Args:
        environment: What they are told.
        logs: The folder of what they say.
    """

    def __init__(self, environment: dict[str, str], logs: Path) -> None:
        self._environment = environment
        self._logs = logs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def comes(self, name: str) -> None:
        """Start one, tied to this process."""
        with (self._logs / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "tests.support.member", name],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def act(self, name: str, what: str) -> None:
        """Start, stop or kill one member."""
        if what == "comes":
            self.comes(name)
        else:
            self._processes[name].send_signal(signal.SIGTERM if what == "goes" else signal.SIGKILL)

    def codes(self) -> dict[str, int | None]:
        """Return how each has ended, if it has."""
        return {name: process.poll() for name, process in self._processes.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.kill()
            process.communicate()


@pytest.fixture
def brokers(servers: Servers) -> str:
    """A broker that misses a member soon, with the topic."""
    kafka = servers.kafka(_BROKER)
    create_topics(Broker(kafka.bootstrap, "kafka"), TOPIC, partitions=_PARTITIONS)
    return kafka.bootstrap


@pytest.fixture
def database_of_members(postgres: str) -> Iterator[str]:
    """The URL of a database that is empty."""
    with postgresql_database(postgres) as url:
        yield url


@pytest.fixture
async def database(database_of_members: str) -> AsyncIterator[Database]:
    """A database with the members' tables."""
    opened = Database(database_of_members, schema=SCHEMA)
    await create_tables(opened, metadata)
    yield opened
    await opened.close()


@contextmanager
def running_members(url: str, brokers: str, logs: Path) -> Iterator[Members]:
    """Hold the members of a group, and kill them at the end."""
    told = {"KAFKA_BOOTSTRAP_SERVERS": brokers, "DATABASE_URL": url}
    with Members(os.environ | _VARIABLES | told, logs) as members:
        yield members


@pytest.mark.timeout(300)
async def test_ten_thousand_messages_outlive_their_readers(
    brokers: str, database_of_members: str, database: Database, tmp_path: Path
) -> None:
    """Each message has its effect once, those of one key in order, while members join, leave and are killed."""
    with running_members(database_of_members, brokers, tmp_path) as members:
        members.comes("a")
        members.comes("b")
        flowing = asyncio.create_task(_flow(brokers))
        for least, name, what in _TURNS:
            await _reached(database, least)
            members.act(name, what)
        await flowing
        await _reached(database, _KEYS * _EACH)
        await eventually(lambda: members.codes()["a"] == members.codes()["d"] == 0, timeout_s=30)
        assert members.codes() == {"a": 0, "b": -signal.SIGKILL, "c": -signal.SIGKILL, "d": 0, "e": None}
    entered, by = await _entered(database)
    assert entered == {f"o-{key}": list(range(_EACH)) for key in range(_KEYS)}
    assert by == set("abcde")


async def _flow(brokers: str) -> None:
    """Send the messages of all keys, some of each in a row: side by side, they would overtake each other."""
    async with AIOKafkaProducer(bootstrap_servers=brokers, enable_idempotence=True) as producer:
        for first in range(0, _EACH, _IN_A_ROW):
            run = [(f"o-{key}", first + next_) for key in range(_KEYS) for next_ in range(_IN_A_ROW)]
            sent = [
                await producer.send(TOPIC, encode(message(order, sequence)), key=order.encode())
                for order, sequence in run
            ]
            await asyncio.gather(*sent)


async def _reached(database: Database, least: int) -> None:
    async def is_reached() -> bool:
        async with database.reading() as connection:
            found = await connection.execute(select(func.count()).select_from(entries))
            return int(found.scalar_one()) >= least

    await eventually(is_reached, timeout_s=_NEXT_S)


async def _entered(database: Database) -> tuple[dict[str, list[int]], set[str]]:
    """Read what was entered for each key, in order, and by whom."""
    async with database.reading() as connection:
        rows = (await connection.execute(select(entries).order_by(entries.c.id))).all()
    entered: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        entered[row.key].append(row.sequence)
    return dict(entered), {row.member for row in rows}
