"""The workloads with FastStream, written as in its documentation, and traced by its own middleware.

FastStream runs on aiokafka too: its untraced cost shows what a framework adds to the client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from faststream.kafka import KafkaBroker, TopicPartition
from faststream.kafka.opentelemetry import KafkaTelemetryMiddleware
from opentelemetry import trace

from benchmarks import freight
from benchmarks.modes import Tally
from benchmarks.workloads import MAX_RECORDS, POLL_MS, Run, Site, Workloads, acknowledge, window


def _broker(site: Site) -> KafkaBroker:
    middlewares = [KafkaTelemetryMiddleware(tracer_provider=trace.get_tracer_provider())] if site.traced else []
    return KafkaBroker(site.brokers, middlewares=middlewares, logger=logging.getLogger(__name__))


@asynccontextmanager
async def producing(site: Site) -> AsyncIterator[Run]:
    """Publish messages and wait for each acknowledgement."""
    async with _broker(site) as broker:
        yield partial(_produce, broker)


async def _produce(broker: KafkaBroker, messages: int) -> Tally:
    pending: list[asyncio.Future[Any]] = []
    for number in range(messages):
        sent = await broker.publish(freight.VALUE, freight.SENT_TO, key=freight.key(number), no_confirm=True)
        pending.append(sent)
        await window(pending)
    await acknowledge(pending)
    return Tally(messages=messages)


class _Handled:
    """The messages that the handler has seen, and an event that is set when they are enough."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.enough = asyncio.Event()
        self.due = 0

    def see(self, *sizes: int) -> None:
        self.tally.polled(list(sizes))
        if self.tally.messages >= self.due:
            self.enough.set()


def _partitions(site: Site) -> list[TopicPartition]:
    return [TopicPartition(one.topic, one.partition) for one in freight.partitions_of(site.topic)]


async def _consume(broker: KafkaBroker, handled: _Handled, messages: int) -> Tally:
    handled.due = messages
    await broker.start()
    await handled.enough.wait()
    await broker.stop()
    return handled.tally


@asynccontextmanager
async def getting_one(site: Site) -> AsyncIterator[Run]:
    """Let a subscriber handle each message."""
    broker, handled = _broker(site), _Handled()

    @broker.subscriber(partitions=_partitions(site), **_READING)  # type: ignore[untyped-decorator]  # as below
    async def handle(body: bytes) -> None:  # noqa: ARG001 - no work, so that only what surrounds the handler is measured
        handled.see(1)

    yield partial(_consume, broker, handled)


@asynccontextmanager
async def getting_many(site: Site) -> AsyncIterator[Run]:
    """Let a subscriber handle messages in batches."""
    broker, handled = _broker(site), _Handled()

    @broker.subscriber(
        partitions=_partitions(site),
        batch=True,
        batch_timeout_ms=POLL_MS,
        max_records=MAX_RECORDS,
        **_READING,
    )  # type: ignore[untyped-decorator]  # the call's types depend on what is unpacked
    async def handle(bodies: list[bytes]) -> None:
        handled.see(len(bodies))

    yield partial(_consume, broker, handled)


_READING: Final[dict[str, Any]] = {"auto_offset_reset": "earliest", "fetch_max_wait_ms": 10}

OPEN: Final[Workloads] = {
    "produce": producing,
    "getone": getting_one,
    "getmany": getting_many,
}
