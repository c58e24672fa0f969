"""The workloads with confluent-kafka, whose client is librdkafka, traced by contrib's instrumentor for it.

The library is synchronous and works in its own threads, whose CPU time counts as the event loop's does elsewhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import confluent_kafka
from opentelemetry.instrumentation.confluent_kafka import ConfluentKafkaInstrumentor

from benchmarks import freight
from benchmarks.modes import Tally
from benchmarks.workloads import MAX_RECORDS, POLL_MS, Run, Site, Workloads

_POLL_S: Final = POLL_MS / 1_000
_FLUSH_S: Final = 30.0
#: Messages between two calls that serve acknowledgements.
_SERVED: Final = 500


def instrument() -> None:
    """Replace the library's classes by contrib's."""
    ConfluentKafkaInstrumentor().instrument()


@asynccontextmanager
async def producing(site: Site) -> AsyncIterator[Run]:
    """Send messages and wait for each acknowledgement."""
    producer = confluent_kafka.Producer({"bootstrap.servers": site.brokers, "linger.ms": 0})
    producer.list_topics(freight.SENT_TO, timeout=_POLL_S)
    yield partial(_produce, producer)


async def _produce(producer: Any, messages: int) -> Tally:  # noqa: ANN401 - untyped, and replaced by contrib's
    done = Tally()

    def acknowledged(error: object, _: object) -> None:
        if error is None:
            done.messages += 1

    for number in range(messages):
        producer.produce(freight.SENT_TO, freight.VALUE, freight.key(number), on_delivery=acknowledged)
        if number % _SERVED == 0:
            producer.poll(0)
    producer.flush(_FLUSH_S)
    return done


def _consumer(site: Site) -> Any:  # noqa: ANN401 - as above
    return confluent_kafka.Consumer(
        {
            "bootstrap.servers": site.brokers,
            "group.id": freight.GROUP,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 10,
        }
    )


def _assign(consumer: Any, site: Site) -> None:  # noqa: ANN401 - as above
    beginning = confluent_kafka.OFFSET_BEGINNING
    partitions = freight.partitions_of(site.topic)
    consumer.assign([confluent_kafka.TopicPartition(one.topic, one.partition, beginning) for one in partitions])


@asynccontextmanager
async def getting_one(site: Site) -> AsyncIterator[Run]:
    """Receive messages one at a time."""
    yield partial(_poll, _consumer(site), site)


async def _poll(consumer: Any, site: Site, messages: int) -> Tally:  # noqa: ANN401 - as above
    _assign(consumer, site)
    done = Tally()
    while done.messages < messages:
        message = consumer.poll(_POLL_S)
        if message is not None and message.error() is None:
            done.polled([1])
    # This ends contrib's last span.
    consumer.close()
    return done


@asynccontextmanager
async def getting_many(site: Site) -> AsyncIterator[Run]:
    """Receive messages in batches."""
    yield partial(_take, _consumer(site), site)


async def _take(consumer: Any, site: Site, messages: int) -> Tally:  # noqa: ANN401 - as above
    _assign(consumer, site)
    done = Tally()
    while done.messages < messages:
        found = consumer.consume(min(MAX_RECORDS, messages - done.messages), _POLL_S)
        done.polled([len([message for message in found if message.error() is None])])
    consumer.close()
    return done


OPEN: Final[Workloads] = {
    "produce": producing,
    "getone": getting_one,
    "getmany": getting_many,
}
