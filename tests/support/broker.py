"""Brokers for tests: an address that knows its kind of broker, and the embedded one as a child process."""

import asyncio
import selectors
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    NodeNotReadyError,
    NoError,
    TopicAlreadyExistsError,
    for_code,
)

from tests.support.eventually import eventually

PARTITIONS = 4
"""How many every topic of a test has: what the embedded broker gives."""

_START_S = 200.0
_STOP_S = 50.0
_REQUEST_MS = 100_000


class Broker(str):
    """A bootstrap address (`host:port`) that knows its kind of broker: `embedded`, `kafka` or `kafka35`."""

    __slots__ = ("kind",)

    kind: str

    def __new__(cls, address: str, kind: str) -> Self:
        """Mark an address."""
        broker = super().__new__(cls, address)
        broker.kind = kind
        return broker

    @property
    def is_embedded(self) -> bool:
        """Whether it is the embedded one: topics are created by use, a group has one member, no admin calls."""
        return self.kind == "embedded"


def create_topics(broker: Broker, *topics: str, partitions: int = PARTITIONS) -> None:
    """Create topics that do not exist yet, outside an event loop; the embedded broker makes its own.

    Raises:
        KafkaError: the broker refused one.
    """
    if not broker.is_embedded:
        asyncio.run(_create(broker, [NewTopic(topic, partitions, 1) for topic in topics]))


def settle_groups(broker: Broker) -> None:
    """Make a new broker create the topic that groups need, which it does only after the first group asks.

    Raises:
        AssertionError: it did not exist after 20 seconds.
    """
    asyncio.run(eventually(lambda: _has_coordinator(broker), _START_S))


@contextmanager
def embedded_broker() -> Iterator[Broker]:
    """Start the broker, yield its bootstrap address, and end it.

    The child lives until its standard input closes, so it ends even when this process is killed.

    Raises:
        RuntimeError: the broker printed no address in time, or died.
    """
    command = [sys.executable, "-m", "services.cli.embedded_broker"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Broker(_address(child), "embedded")
    finally:
        _end(child)


def cluster_of(broker: str) -> str:
    """Ask a broker for the id of its cluster, with another client than aiokafka."""
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - it loads librdkafka

    return str(AdminClient({"bootstrap.servers": broker}).list_topics(timeout=_START_S).cluster_id)


@asynccontextmanager
async def _admin(broker: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=broker, request_timeout_ms=_REQUEST_MS)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def _create(broker: str, topics: list[NewTopic]) -> None:
    async with _admin(broker) as client:
        answer: Any = await client.create_topics(topics)
    for topic, code, *_ in answer.topic_errors:
        if code not in {NoError.errno, TopicAlreadyExistsError.errno}:
            raise for_code(code)(topic)


async def _has_coordinator(broker: str) -> bool:
    # A client for each attempt: one that came before the broker knew of itself knows no broker.
    async with _admin(broker) as client:
        try:
            await client.find_coordinator("settles")
        except (GroupCoordinatorNotAvailableError, NodeNotReadyError):
            return False
    return True


def _address(child: subprocess.Popen[str]) -> str:
    """Read the line that the broker prints, within a bound."""
    assert child.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        ready = selector.select(_START_S)
    line = child.stdout.readline().strip() if ready else ""
    if not line:
        raise RuntimeError(f"the embedded broker printed no address in {_START_S} s (exit code {child.poll()})")
    return line


def _end(child: subprocess.Popen[str]) -> None:
    """End it by closing its input, then by force."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    try:
        child.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(_STOP_S)
    child.stdout.close()
