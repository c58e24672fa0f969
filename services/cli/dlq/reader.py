"""Read a group's dead-letter topic from its beginning to where it ended when the reading started.

The reader joins no group and commits nothing, so it does not disturb any consumer. It keeps a record's value only where
the caller needs it: a topic may hold far more than should be kept in memory.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from pydantic_core import from_json

from services.cli.errors import CannotRun
from services.contracts import ContractError, parse_message
from services.contracts.topics import dead_letter_topic
from services.messaging.closing import close_consumer
from services.messaging.dead_letters import DeadLetter, Place, TopicRecord, read_dead_letter
from services.messaging.security import KafkaSecurity
from services.messaging.settings import KafkaSettings

_START_S = 20.0
_SILENCE_S = 30.0
_STOP_S = 5.0
_POLL_MS = 500
_PROGRESS_S = 2.0
_FETCH_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class MessageSummary:
    """What a dead letter's value says about itself, as far as it can be read, and its size in bytes."""

    event_type: str | None
    event_id: str | None
    order_id: str | None
    size: int | None


class UnreadableTopic(CannotRun):
    """The client can't read one of the topic's records, and so none behind it."""


Predicate = Callable[[DeadLetter, MessageSummary], bool]


@dataclass(frozen=True)
class TopicContents:
    """The dead letters of a topic, in order within each partition, and a summary of each by its place in the topic."""

    dead_letters: Sequence[DeadLetter]
    summaries: Mapping[Place, MessageSummary]


async def read_dead_letters(
    group: str,
    *,
    wanted: Callable[[TopicRecord], bool] = lambda _: True,
    keep_value: Predicate = lambda *_: False,
) -> TopicContents:
    """Read a group's dead letters: the records that are `wanted`, with the values that `keep_value` accepts.

    Raises:
        UnreadableTopic: a record has a header whose name is not UTF-8.
        CannotRun: no broker answers at KAFKA_BOOTSTRAP_SERVERS, or it goes silent, or there is no such topic.
    """
    dead_letters, summaries = [], {}
    async for record in _records(dead_letter_topic(group)):
        if not wanted(record):
            continue
        dead_letter = read_dead_letter(record)
        summaries[dead_letter.at] = summary = _summarize(dead_letter.value)
        dead_letters.append(dead_letter if keep_value(dead_letter, summary) else replace(dead_letter, value=None))
    return TopicContents(dead_letters, summaries)


async def _records(topic: str) -> AsyncIterator[TopicRecord]:
    async with _connected(topic) as client:
        ends = {tp: end for tp, end in (await client.end_offsets(client.assignment())).items() if end > 0}
        await client.seek_to_beginning(*client.assignment())
        starts = {tp: await client.position(tp) for tp in ends}
        total = sum(ends[tp] - starts[tp] for tp in ends)
        read, received_at, reported_at = 0, time.monotonic(), time.monotonic()
        while [tp for tp in ends if await client.position(tp) < ends[tp]]:
            batches = await client.getmany(timeout_ms=_POLL_MS)
            for tp, batch in batches.items():
                for record in batch:
                    if record.offset < ends.get(tp, 0):
                        read += 1
                        yield record
            if batches:
                received_at = time.monotonic()
            elif time.monotonic() - received_at > _SILENCE_S:
                raise CannotRun(f"{topic} returned nothing for {_SILENCE_S:.0f} s: see KAFKA_BOOTSTRAP_SERVERS")
            if time.monotonic() - reported_at > _PROGRESS_S:
                reported_at = time.monotonic()
                print(f"sagatrace: {topic}: {read} of {total} records read", file=sys.stderr)


@asynccontextmanager
async def _connected(topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    brokers = KafkaSettings.read().bootstrap_servers
    client = AIOKafkaConsumer(
        topic,
        bootstrap_servers=brokers,
        client_id="sagatrace-dlq",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=_FETCH_BYTES,
        **KafkaSecurity.read().client_options(),
    )
    try:
        async with asyncio.timeout(_START_S):
            await client.start()
        yield client
    except UnknownTopicOrPartitionError as error:
        raise CannotRun(f"there is no topic {topic}: `sagatrace topics` makes it") from error
    except (KafkaError, OSError, TimeoutError) as error:
        reason = f"{topic} can't be read at KAFKA_BOOTSTRAP_SERVERS={brokers}: {type(error).__name__}"
        raise CannotRun(reason) from error
    except UnicodeDecodeError as error:
        raise UnreadableTopic(
            f"{topic} holds a record that this client can't read: a header's name is not UTF-8"
        ) from error
    finally:
        await close_consumer(client, _STOP_S)


def _summarize(value: bytes | None) -> MessageSummary:
    """Read what can be read: of an unknown type or a malformed message, whatever its envelope says."""
    size = None if value is None else len(value)
    try:
        message = parse_message(value)
    except ContractError:
        envelope = _envelope(value)
        return MessageSummary(envelope.get("event_type"), envelope.get("event_id"), envelope.get("order_id"), size)
    return MessageSummary(message.event_type, str(message.event_id), message.order_id, size)


def _envelope(value: bytes | None) -> Mapping[str, str]:
    try:
        document = from_json(value or b"")
    except ValueError:
        return {}
    return (
        {name: text for name, text in document.items() if isinstance(text, str)} if isinstance(document, dict) else {}
    )
