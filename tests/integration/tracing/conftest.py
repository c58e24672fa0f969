"""Fixtures of the tests that trace real clients against a broker."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.support.broker import embedded_broker
from tests.support.instrumented import Instrumented
from tracing.testing import RecordedSpans

OpenProducer = Callable[..., Awaitable[AIOKafkaProducer]]
OpenConsumer = Callable[..., Awaitable[AIOKafkaConsumer]]

#: The embedded broker makes every topic with as many.
PARTITIONS = 4


@pytest.fixture
async def _opened() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def open_producer(broker: str, _opened: AsyncExitStack) -> OpenProducer:
    """Start a producer with further settings; it is stopped after the test."""

    async def start(**settings: Any) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(**{"bootstrap_servers": broker, "request_timeout_ms": 5000, **settings})
        await producer.start()
        _opened.push_async_callback(producer.stop)
        return producer

    return start


@pytest.fixture
def open_consumer(broker: str, topic: str, _opened: AsyncExitStack) -> OpenConsumer:
    """Start a consumer that reads all of a topic, this test's own by default; it is stopped after the test.

    Partitions are assigned by hand: joining a group takes seconds on the embedded broker.
    """

    async def start(topic: str = topic, **settings: Any) -> AIOKafkaConsumer:
        defaults = {
            "bootstrap_servers": broker,
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "fetch_max_wait_ms": 10,
        }
        consumer = AIOKafkaConsumer(**{**defaults, **settings})
        await consumer.start()
        _opened.push_async_callback(consumer.stop)
        consumer.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
        return consumer

    return start


@pytest.fixture
async def producer(open_producer: OpenProducer) -> AIOKafkaProducer:
    """A producer with default settings."""
    return await open_producer()


@pytest.fixture
async def consumer(open_consumer: OpenConsumer) -> AIOKafkaConsumer:
    """A consumer of all of this test's topic."""
    return await open_consumer()


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    """Every span and metric of the test, with aiokafka instrumented."""
    with RecordedSpans() as recorded:
        yield recorded


@pytest.fixture
def receive() -> Callable[[AIOKafkaConsumer, int], Awaitable[list[Any]]]:
    """Receive at least so many records by `getmany`, within a bound."""

    async def take(consumer: AIOKafkaConsumer, count: int) -> list[Any]:
        records: list[Any] = []
        for _ in range(100):
            polled = await consumer.getmany(timeout_ms=100)
            records.extend(record for batch in polled.values() for record in batch)
            if len(records) >= count:
                return records
        raise AssertionError(f"{len(records)} of {count} records came")

    return take


@pytest.fixture(params=[pytest.param("contrib", marks=pytest.mark.xfail(strict=True)), "ours"])
def instrumented(request: pytest.FixtureRequest) -> Iterator[Instrumented]:
    """Contrib's instrumentation, which is to fail, and ours."""
    found = Instrumented(request.param)
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
async def dying_broker() -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """A broker of one's own, and how to end it."""
    broker = embedded_broker()
    address = broker.__enter__()
    ended = False

    def end() -> None:
        nonlocal ended
        if not ended:
            ended = True
            broker.__exit__(None, None, None)

    yield address, end
    end()
