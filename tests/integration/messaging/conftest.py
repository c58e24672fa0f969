"""Fixtures of the tests that send to and consume from a broker."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from sqlalchemy import MetaData

from services.contracts.topics import PARTITIONS
from services.messaging import Producer
from services.messaging.outbox.outbox import Outbox
from services.messaging.semconv import SAGATRACE_MESSAGE_TYPE
from services.messaging.settings import ConsumerSettings, ProducerSettings
from services.messaging.storage.database import Database
from services.messaging.storage.tables import inbox_table, ladder_tables, outbox_table
from tests.support.broker import embedded_broker
from tests.support.databases import SCHEMA, create_tables
from tracing.testing import RecordedSpans

ReadTopic = Callable[[str, int], Awaitable[Sequence[ConsumerRecord[bytes, bytes]]]]
Committed = Callable[[str, str], Awaitable[list[int | None]]]

#: A consumer that hurries: what waits in production for a second waits here for milliseconds.
QUICK = ConsumerSettings(
    poll_timeout=0.05,
    fetch_max_wait=0.02,
    commit_interval=0.02,
    first_backoff=0.005,
    longest_backoff=0.05,
    retries=2,
)
#: A producer that gives up soon.
HASTY = ProducerSettings(
    attempts=2,
    send_timeout=0.5,
    first_backoff=0.01,
    longest_backoff=0.02,
    stop_timeout=0.5,
    start_timeout=5,
)


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    """Every span of the test, with aiokafka instrumented."""
    with RecordedSpans(name_attribute=SAGATRACE_MESSAGE_TYPE) as recorded:
        yield recorded


@pytest.fixture
async def producer(broker: str) -> AsyncIterator[Producer]:
    """A producer with its usual settings."""
    async with Producer(broker) as opened:
        yield opened


@pytest.fixture
async def read_topic(broker: str) -> AsyncIterator[ReadTopic]:
    """Read so many records of a topic from its beginning, in the order of their arrival here."""
    async with AsyncExitStack() as stack:

        async def read(topic: str, count: int) -> Sequence[ConsumerRecord[bytes, bytes]]:
            reader = AIOKafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest", fetch_max_wait_ms=20)
            await reader.start()
            stack.push_async_callback(reader.stop)
            reader.assign([TopicPartition(topic, number) for number in range(PARTITIONS)])
            records: list[ConsumerRecord[bytes, bytes]] = []
            for _ in range(200):
                polled = await reader.getmany(timeout_ms=50)
                records.extend(record for batch in polled.values() for record in batch)
                if len(records) >= count:
                    return records
            raise AssertionError(f"{len(records)} of {count} records came")

        yield read


@pytest.fixture
async def committed(broker: str) -> Committed:
    """Return what a group committed for each partition of a topic; None where it committed nothing."""

    async def ask(group: str, topic: str) -> list[int | None]:
        asking = AIOKafkaConsumer(bootstrap_servers=broker, group_id=group, enable_auto_commit=False)
        await asking.start()
        try:
            partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
            asking.assign(partitions)
            return [await asking.committed(partition) for partition in partitions]
        finally:
            await asking.stop()

    return ask


@pytest.fixture
def dying_broker() -> Iterator[tuple[str, Callable[[], None]]]:
    """A broker of one's own, and how to end it."""
    broker = embedded_broker()
    address = broker.__enter__()
    alive = [broker]

    def end() -> None:
        while alive:
            alive.pop().__exit__(None, None, None)

    yield address, end
    end()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The database, with these tables."""
    metadata = MetaData()
    outbox_table(metadata)
    inbox_table(metadata)
    ladder_tables(metadata)
    opened = Database(database_url, schema=SCHEMA)
    await create_tables(opened, metadata)
    yield opened
    await opened.close()


@pytest.fixture
def outbox(database: Database) -> Outbox:
    """The outbox of that database."""
    return Outbox(database)
