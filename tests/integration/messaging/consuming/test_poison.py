"""Poison of every kind between good messages, and a record that just fits its topic, against a broker."""

import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from services.contracts import ContractError, Message, encode, new_id
from services.contracts.topics import PARTITIONS, dead_letter_topic, retry_topic
from services.messaging import Consumer, Producer
from services.messaging.dead_letters.headers import read_dead_letter
from services.messaging.dead_letters.redrive import send_redrive
from services.messaging.topology import DEAD_LETTER_BYTES, MAX_BYTES
from tests.integration.messaging.conftest import QUICK, Committed, ReadTopic
from tests.support.broker import Broker, create_topics
from tests.support.eventually import eventually
from tests.support.records import Header, message

KEY = b"o-1"


@dataclass(frozen=True)
class Poison:
    """A record that can't be processed; its headers are kept but for the trace context."""

    value: bytes | None = b"{"
    key: bytes | None = KEY
    headers: Sequence[tuple[str, Any]] = ()


POISON = {
    "bad UTF-8": Poison(b"\xff\xfe\x00"),
    "bad JSON": Poison(b'{"event_type": '),
    "no object": Poison(b"[1]"),
    "an unknown type": Poison(b'{"event_type": "saga.paused", "saga_id": "s", "order_id": "o", "sequence": 1}'),
    "against the schema": Poison(b'{"event_type": "saga.started", "saga_id": "s", "order_id": "o", "sequence": -1}'),
    "a tombstone": Poison(None),
    "empty": Poison(b""),
    "no key": Poison(key=None),
    "a binary key": Poison(key=b"\x00\xff\x1b[2J"),
    "bad header bytes": Poison(headers=[("traceparent", b"\xff\xff"), ("baggage", b"\xfe=\xfd"), ("x", b"\x00\xff")]),
    "a header twice and one without a value": Poison(headers=[("x", b"1"), ("x", b"2"), ("y", None)]),
    "a huge header": Poison(headers=[("x", b"\x80" * 700_000)]),
    "many headers": Poison(headers=[(f"x-{number}", b"y") for number in range(2_000)]),
}


@pytest.fixture
def group(broker: Broker, topic: str) -> str:
    """A group that no other test uses, with a dead-letter topic."""
    create_topics(broker, dead_letter_topic(topic))
    return topic


@pytest.fixture
async def raw(broker: Broker) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that sends what it is told, whatever its size."""
    async with AIOKafkaProducer(bootstrap_servers=broker, max_request_size=2**24, acks="all") as opened:
        yield opened


async def test_poison_of_every_kind_never_blocks_its_partition(  # noqa: PLR0913, PLR0917  its fixtures
    broker: Broker,
    raw: AIOKafkaProducer,
    topic: str,
    group: str,
    read_topic: ReadTopic,
    committed: Committed,
) -> None:
    """In one partition, good messages around each poison are handled in order, and the poison is kept byte for byte."""
    handled: list[int] = []

    async def handle(got: Message) -> None:
        handled.append(got.sequence)

    for number, poison in enumerate(POISON.values()):
        await raw.send_and_wait(topic, encode(message("o-1", number)), key=KEY, partition=0)
        await raw.send_and_wait(topic, poison.value, key=poison.key, headers=list(poison.headers), partition=0)
    await raw.send_and_wait(topic, encode(message("o-1", len(POISON))), key=KEY, partition=0)
    settings = QUICK.model_copy(update={"breaker_in_a_row": 1000, "breaker_window": 1000})
    async with Consumer(broker, group, [topic], handle, settings=settings):
        await eventually(lambda: len(handled) > len(POISON), timeout_s=20)
    assert handled == list(range(len(POISON) + 1))
    assert (await committed(group, topic))[0] == 2 * len(POISON) + 1

    letters = {
        read_dead_letter(letter).origin: letter for letter in await read_topic(dead_letter_topic(group), len(POISON))
    }
    by_offset = [letter for _, letter in sorted(letters.items(), key=lambda item: item[0].offset if item[0] else -1)]
    for (kind, poison), letter in zip(POISON.items(), by_offset, strict=True):
        assert (letter.key, letter.value) == (poison.key, poison.value), kind
        assert _without_ours(letter) == [header for header in poison.headers if header[0] != "traceparent"], kind


async def test_what_was_taken_only_because_it_was_compressed_leaves_its_story(
    broker: Broker,
    topic: str,
    group: str,
    read_topic: ReadTopic,
) -> None:
    """A record larger than the dead letters take does not block the next one, and says where it stands."""
    handled: list[int] = []

    async def handle(got: Message) -> None:
        handled.append(got.sequence)

    compressing = AIOKafkaProducer(bootstrap_servers=broker, max_request_size=2**24, compression_type="gzip")
    async with compressing as producer:
        await producer.send_and_wait(topic, b"\x00" * 3_000_000, key=KEY, partition=0)
        await producer.send_and_wait(topic, encode(message()), key=KEY, partition=0)
    async with Consumer(broker, group, [topic], handle, settings=QUICK):
        await eventually(lambda: handled, timeout_s=20)
    (letter,) = await read_topic(dead_letter_topic(group), 1)
    told = read_dead_letter(letter)
    assert (letter.value, letter.key) == (None, KEY)
    assert told.omitted == "key=3, value=3000000, headers=0"
    assert told.origin is not None
    assert told.origin.offset == 0


class Longwinded(ContractError):
    """An error with a text as long as it may be."""


def _fail(record: object, depth: int = 100) -> Message:
    """Fail at the end of a deep stack, of which no two frames in a row are alike."""
    if depth:
        return _descend(record, depth)
    raise Longwinded("\N{SNOWMAN}" * 5_000)


def _descend(record: object, depth: int) -> Message:
    return _fail(record, depth - 1)


@pytest.mark.brokers("kafka", "kafka35")
async def test_a_record_that_just_fits_its_topic_fits_the_dead_letters(
    broker: Broker,
    raw: AIOKafkaProducer,
    producer: Producer,
    topic: str,
    read_topic: ReadTopic,
) -> None:
    """At the limit, byte by byte: with all failure headers, through a re-drive, and after a second failure."""
    larger = {"max.message.bytes": str(DEAD_LETTER_BYTES)}
    await _create(broker, NewTopic(dead_letter_topic(topic), PARTITIONS, 1, topic_configs=larger))
    await _create(broker, NewTopic(retry_topic(topic), PARTITIONS, 1, topic_configs=larger))
    headers: list[Header] = [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("x", None)]
    value = _largest(headers)
    with pytest.raises(MessageSizeTooLargeError):
        await raw.send_and_wait(topic, value + b"\x00", key=KEY, headers=headers, partition=0)
    async with AIOKafkaProducer(bootstrap_servers=broker, max_request_size=2**24) as fresh:
        await fresh.send_and_wait(topic, value, key=KEY, headers=headers, partition=0)
    topics = [topic, retry_topic(topic)]
    async with Consumer(broker, topic, topics, _unused, settings=QUICK, producer=producer, decode=_fail):
        (first,) = await read_topic(dead_letter_topic(topic), 1)
        await send_redrive(producer, topic, read_dead_letter(first), new_id())
        _, again = await read_topic(dead_letter_topic(topic), 2)
    for letter, count in ((first, 0), (again, 1)):
        told = read_dead_letter(letter)
        assert (letter.key, letter.value) == (KEY, value)
        assert (told.omitted, told.redrive_count) == (None, count)
        assert told.origin is not None
        assert told.origin.topic == topic
        assert len((told.stacktrace or "").encode()) > 4_000
        assert len((told.error_message or "").encode()) > 1_000


async def _unused(_: Message) -> None:
    raise AssertionError("nothing is decoded")


def _largest(headers: Sequence[Header]) -> bytes:
    """Make the largest value that the topic takes with this key and these headers; it does not compress."""
    empty = _batch_bytes(b"", headers)
    value = os.urandom(MAX_BYTES - empty)
    # The lengths of the record and of the value take more bytes the larger they are.
    return value[: len(value) - (_batch_bytes(value, headers) - MAX_BYTES)]


def _batch_bytes(value: bytes, headers: Sequence[Header]) -> int:
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 2**30)  # noqa: FBT003  no transaction
    builder.append(0, 0, KEY, value, list(headers))
    return len(builder.build())


async def _create(broker: str, topic: NewTopic) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await admin.create_topics([topic])
    finally:
        await admin.close()


def _without_ours(letter: ConsumerRecord[bytes, bytes]) -> list[tuple[str, bytes | None]]:
    """Return the headers that belong neither to the dead letter nor to its own send."""
    ours = ("sagatrace-dlq-", "kafka_dlt-", "traceparent", "tracestate")
    return [(name, value) for name, value in letter.headers if not name.startswith(ours)]
