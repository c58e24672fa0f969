"""The measured work: sending, and receiving with a handler, one message at a time or many.

Each workload opens its client outside the measurement and yields what to run inside. The same code runs in every mode;
only the handler differs, because ours opens the process span, for which contrib has no equivalent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.structs import RecordMetadata

from benchmarks import freight
from benchmarks.modes import Tally, Workload

Handler = Callable[[ConsumerRecord[Any, Any]], None]
Run = Callable[[int], Awaitable[Tally]]

#: Sends between two waits for acknowledgements.
_WINDOW: Final = 500
MAX_RECORDS: Final = 500
POLL_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Site:
    """The broker, topic and handler of a workload."""

    brokers: str
    topic: str
    handler: Handler
    #: Whether a client that has its own tracing uses it; aiokafka is wrapped from outside instead.
    traced: bool = False


Workloads = dict[Workload, Callable[[Site], AbstractAsyncContextManager[Run]]]


@asynccontextmanager
async def producing(site: Site) -> AsyncIterator[Run]:
    """Send messages and wait for each acknowledgement."""
    async with AIOKafkaProducer(bootstrap_servers=site.brokers) as producer:
        await producer.partitions_for(freight.SENT_TO)
        yield partial(_produce, producer)


async def _produce(producer: AIOKafkaProducer, messages: int) -> Tally:
    pending: list[asyncio.Future[RecordMetadata]] = []
    for number in range(messages):
        pending.append(await producer.send(freight.SENT_TO, freight.VALUE, freight.key(number)))
        await window(pending)
    await acknowledge(pending)
    return Tally(messages=messages)


async def window(pending: list[asyncio.Future[RecordMetadata]]) -> None:
    """Wait for the acknowledgements if many are pending."""
    if len(pending) == _WINDOW:
        await acknowledge(pending)


async def acknowledge(pending: list[asyncio.Future[RecordMetadata]]) -> None:
    """Wait for every acknowledgement."""
    for future in pending:
        await future
    # Awaiting a future that is done gives its callbacks, which end spans, no chance to run.
    await asyncio.sleep(0)
    pending.clear()


@asynccontextmanager
async def _consumer(site: Site) -> AsyncIterator[AIOKafkaConsumer]:
    async with AIOKafkaConsumer(
        bootstrap_servers=site.brokers,
        group_id=freight.GROUP,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=10,
    ) as consumer:
        yield consumer


@asynccontextmanager
async def getting_one(site: Site) -> AsyncIterator[Run]:
    """Receive messages one at a time and handle each."""
    async with _consumer(site) as consumer:
        yield partial(_getone, consumer, site)


async def _getone(consumer: AIOKafkaConsumer, site: Site, messages: int) -> Tally:
    consumer.assign(freight.partitions_of(site.topic))
    handler = site.handler
    for _ in range(messages):
        handler(await consumer.getone())
    return Tally(messages=messages)


@asynccontextmanager
async def getting_many(site: Site) -> AsyncIterator[Run]:
    """Receive messages in batches and handle each message."""
    async with _consumer(site) as consumer:
        yield partial(_getmany, consumer, site)


async def _getmany(consumer: AIOKafkaConsumer, site: Site, messages: int) -> Tally:
    consumer.assign(freight.partitions_of(site.topic))
    handler = site.handler
    done = Tally()
    while done.messages < messages:
        room = min(MAX_RECORDS, messages - done.messages)
        batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=room)
        for batch in batches.values():
            for record in batch:
                handler(record)
        done.polled([len(batch) for batch in batches.values()])
    return done


OPEN: Final[Workloads] = {
    "produce": producing,
    "getone": getting_one,
    "getmany": getting_many,
}
