"""The messages of the benchmark: 300 bytes each, with a key, in topics that are filled once and read in every round.

The topic that a mode reads decides the trace context that its messages carry: none, sampled, or not sampled. Each
message has a trace of its own.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from benchmarks.modes import Mode
from benchmarks.processes import Failed

#: Partitions that the embedded broker gives to every topic.
PARTITIONS: Final = 4
#: The broker keeps 5 MB a partition; a message with its headers takes less than 450 bytes.
MOST_MESSAGES: Final = 40_000
VALUE: Final = b"x" * 300
#: Every produce workload sends its messages here. Nobody reads them, so it does not matter what the broker drops.
SENT_TO: Final = "bench.orders.sent"
#: The group id of the consumers. They do not join the group: partitions are assigned by hand.
GROUP: Final = "bench-orders"
#: Seconds to write all topics.
_FILL_S: Final = 60.0
_PLAIN: Final = "bench.orders.plain"
_SAMPLED: Final = "bench.orders.sampled"
_UNSAMPLED: Final = "bench.orders.unsampled"
#: W3C trace flags of the messages in a topic; None for no context at all.
_FLAGS: Final[dict[str, int | None]] = {_PLAIN: None, _SAMPLED: 1, _UNSAMPLED: 0}
#: Added to a message's number, so that its trace id looks like a random one.
_TRACE_IDS: Final = 0x4BF92F3577B34DA6A3CE929D0E000000
_SPAN_IDS: Final = 0x00F067AA0B000000


def topic_of(mode: Mode) -> str:
    """Return the topic that a mode's consumers read."""
    if mode.instrumentation == "none":
        return _PLAIN
    return _SAMPLED if mode.sampled else _UNSAMPLED


def partitions_of(topic: str) -> list[TopicPartition]:
    """Return all partitions of a topic."""
    return [TopicPartition(topic, partition) for partition in range(PARTITIONS)]


def key(number: int) -> bytes:
    """Return the key of a message."""
    return b"order-%08d" % number


def _headers(flags: int | None, number: int) -> list[tuple[str, bytes]]:
    if flags is None:
        return []
    return [("traceparent", b"00-%032x-%016x-%02x" % (_TRACE_IDS + number, _SPAN_IDS + number, flags))]


async def fill(brokers: str, messages: int) -> None:
    """Write the messages that consumers will read, evenly over the partitions.

    Raises:
        Failed: the broker refused a message, or took too long.
    """
    try:
        async with asyncio.timeout(_FILL_S), AIOKafkaProducer(bootstrap_servers=brokers) as producer:
            for topic in _FLAGS:
                await _fill(producer, topic, messages)
    except (KafkaError, TimeoutError) as error:
        raise Failed(f"the broker did not take the messages to be read: {type(error).__name__}") from error


async def _fill(producer: AIOKafkaProducer, topic: str, messages: int) -> None:
    acknowledgements = [
        await producer.send(topic, VALUE, key(number), number % PARTITIONS, headers=_headers(_FLAGS[topic], number))
        for number in range(messages)
    ]
    for acknowledgement in acknowledgements:
        await acknowledgement
