"""Faults of opentelemetry-instrumentation-aiokafka 0.66b1 in sending; contrib must fail each test here."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from tests.support.instrumented import Instrumented, attributes, duration_s

PARTITIONS = 4

# What an instrumentation does to a client is the same on every broker.
pytestmark = pytest.mark.brokers("embedded")


async def test_row_5_the_send_span_lasts_until_the_acknowledgement(
    instrumented: Instrumented, open_producer: Any, topic: str
) -> None:
    """A send that lingers for 200 ms has a span of that length, with the offset."""
    producer = await open_producer(linger_ms=200)
    instrumented.start()
    metadata = await producer.send_and_wait(topic, b"v", partition=0)
    (span,) = instrumented.sends
    assert duration_s(span) >= 0.15
    assert attributes(span)["messaging.kafka.offset"] == metadata.offset


async def test_row_6_a_send_that_is_never_acknowledged_fails_its_span(
    instrumented: Instrumented, dying_broker: tuple[str, Callable[[], None]], topic: str
) -> None:
    """A broker that dies between send and acknowledgement leaves an error on the span."""
    address, end = dying_broker
    producer = AIOKafkaProducer(bootstrap_servers=address, request_timeout_ms=300, retry_backoff_ms=20, linger_ms=50)
    await producer.start()
    try:
        instrumented.start()
        future = await producer.send(topic, b"v", partition=0)
        end()
        with pytest.raises(KafkaError):
            await future
        (span,) = instrumented.sends
        assert span.status.status_code is StatusCode.ERROR
        assert attributes(span)["error.type"]
    finally:
        async with asyncio.timeout(50):
            await producer.stop()


@pytest.mark.parametrize(
    ("value", "error"),
    [(b"x" * 2_000_000, MessageSizeTooLargeError), (object(), TypeError)],
    ids=["size", "serializer"],
)
async def test_row_7_a_send_that_raises_fails_its_span(
    instrumented: Instrumented, open_producer: Any, topic: str, value: object, error: type[Exception]
) -> None:
    """An error of the client's own, before anything is sent, is on the span and reaches the caller."""
    producer = await open_producer(value_serializer=lambda given: given if isinstance(given, bytes) else bytes(given))
    instrumented.start()
    with pytest.raises(error):
        await producer.send_and_wait(topic, value)
    (span,) = instrumented.sends
    assert span.status.status_code is StatusCode.ERROR


async def test_row_11_serializers_run_once(instrumented: Instrumented, open_producer: Any, topic: str) -> None:
    """A send serialises its key and its value once each."""
    calls: list[str] = []

    def serializer(value: str) -> bytes:
        calls.append(value)
        return value.encode()

    producer = await open_producer(key_serializer=serializer, value_serializer=serializer)
    instrumented.start()
    await producer.send_and_wait(topic, "value", "key")
    assert calls == ["key", "value"]


async def test_row_12_a_stateful_partitioner_places_messages_as_without(
    instrumented: Instrumented, open_producer: Any, topic: str
) -> None:
    """A round-robin partitioner spreads 16 messages evenly over 4 partitions."""
    turns = itertools.count()
    producer = await open_producer(partitioner=lambda _, every, __: every[next(turns) % len(every)])
    instrumented.start()
    sent = [await producer.send_and_wait(topic, b"v") for _ in range(16)]
    assert Counter(metadata.partition for metadata in sent) == dict.fromkeys(range(PARTITIONS), 4)


async def test_row_13_the_span_names_the_partition_that_the_message_went_to(
    instrumented: Instrumented, producer: AIOKafkaProducer, topic: str
) -> None:
    """The partition on the span is the broker's answer, also where the client chose at random."""
    instrumented.start()
    sent = [await producer.send_and_wait(topic, b"v") for _ in range(20)]
    on_spans = [attributes(span)["messaging.destination.partition.id"] for span in instrumented.sends]
    assert on_spans == [str(metadata.partition) for metadata in sent]


async def test_row_14_an_unresolvable_topic_fails_after_one_timeout(
    instrumented: Instrumented,
    dying_broker: tuple[str, Callable[[], None]],
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A topic whose metadata does not come costs the metadata timeout once."""
    address, end = dying_broker
    producer = AIOKafkaProducer(bootstrap_servers=address, request_timeout_ms=800, retry_backoff_ms=20)
    await producer.start()
    try:
        end()
        waits: list[str] = []
        wait_on_metadata: Callable[[str], Awaitable[object]] = producer.client._wait_on_metadata

        async def waiting(name: str) -> object:
            waits.append(name)
            return await wait_on_metadata(name)

        monkeypatch.setattr(producer.client, "_wait_on_metadata", waiting)
        instrumented.start()
        with pytest.raises(KafkaError):
            await producer.send(topic, b"v")
        assert waits == [topic]
    finally:
        async with asyncio.timeout(50):
            await producer.stop()


async def test_row_17_the_server_is_a_host_and_a_port(
    instrumented: Instrumented, open_producer: Any, broker: str, topic: str
) -> None:
    """The server's address is a host name and its port an integer, also with a list of servers."""
    producer = await open_producer(bootstrap_servers=[broker, broker])
    instrumented.start()
    await producer.send_and_wait(topic, b"v")
    found = attributes(instrumented.sends[0])
    host, _, port = broker.rpartition(":")
    assert (found["server.address"], found["server.port"]) == (host, int(port))


async def test_row_19_tombstones_are_marked_and_binary_keys_left_out(
    instrumented: Instrumented, producer: AIOKafkaProducer, topic: str
) -> None:
    """A message without a value says so, and a key without a string form is not made up."""
    instrumented.start()
    await producer.send_and_wait(topic, None, b"\xff\x01")
    found = attributes(instrumented.sends[0])
    assert found["messaging.kafka.message.tombstone"] is True
    assert "messaging.kafka.message.key" not in found


@pytest.mark.parametrize("message_key", ["plain", "hash", "off"])
async def test_row_20_a_key_can_be_kept_off_the_span(
    instrumented: Instrumented, producer: AIOKafkaProducer, topic: str, message_key: str
) -> None:
    """A long key is cut; one that is personal can be hashed or left out."""
    key = b"jane@example.org" * 300
    instrumented.start(message_key=message_key)
    await producer.send_and_wait(topic, b"v", key)
    found = attributes(instrumented.sends[0]).get("messaging.kafka.message.key", "")
    assert len(found) == {"plain": 256, "hash": 16, "off": 0}[message_key]


async def test_row_29_nothing_is_computed_for_a_span_that_is_not_recorded(
    instrumented: Instrumented, open_producer: Any, topic: str
) -> None:
    """With a sampler that drops everything the partitioner runs once a send, as without instrumentation."""
    calls: list[int] = []

    def partitioner(_: object, every: list[int], __: object) -> int:
        calls.append(1)
        return every[0]

    producer = await open_producer(partitioner=partitioner)
    instrumented.start(sampler=ALWAYS_OFF)
    await producer.send_and_wait(topic, b"v")
    assert len(calls) == 1
