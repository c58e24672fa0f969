"""The producer against a real broker, and against none."""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import OutOfOrderSequenceNumber
from opentelemetry.trace import StatusCode

from services.contracts import parse_message
from services.messaging import Producer
from services.messaging.errors import MessageTooLarge, SendFailed, Unavailable
from services.messaging.settings import ProducerSettings
from tests.integration.messaging.conftest import HASTY, ReadTopic
from tests.runs.slowness import is_within
from tests.support.records import message
from tracing.testing import RecordedSpans

NOWHERE = "127.0.0.1:1"


async def test_an_event_is_sent_under_its_key(
    producer: Producer,
    topic: str,
    read_topic: ReadTopic,
    spans: RecordedSpans,
) -> None:
    """An event arrives as it was, with its key, where the acknowledgement says, in the trace of a send of its name."""
    event = message("o-7")
    where = await producer.publish_event(topic, "o-7", event)
    (record,) = await read_topic(topic, 1)
    assert (record.partition, record.offset) == (where.partition, where.offset)
    assert record.key == b"o-7"
    assert parse_message(record.value) == event
    send = spans.one("send saga.started")
    known = {
        "messaging.destination.name": topic,
        "messaging.message.id": str(event.event_id),
        "sagatrace.message.type": "saga.started",
        "saga.id": event.saga_id,
        "order.id": "o-7",
    }
    assert known.items() <= dict(send.attributes or {}).items()
    assert f"{send.context.span_id:016x}".encode() in dict(record.headers)["traceparent"]


async def test_bytes_and_headers_go_as_they_are(producer: Producer, topic: str, read_topic: ReadTopic) -> None:
    """Key, value and headers are bytes; the caller's headers are not changed."""
    headers = (("a", b"1"), ("a", b"2"), ("b", None))
    await producer.publish(topic, key=None, value=b"\xff", headers=headers)
    (record,) = await read_topic(topic, 1)
    assert (record.key, record.value) == (None, b"\xff")
    assert [header for header in record.headers if header[0] in {"a", "b"}] == list(headers)


async def test_a_producer_connects_at_its_first_use(broker: str, topic: str, read_topic: ReadTopic) -> None:
    """Many sends of a producer that nobody started share one connection and all arrive."""
    producer = Producer(broker)
    try:
        await asyncio.gather(*(producer.publish_event(topic, f"o-{n}", message(f"o-{n}")) for n in range(20)))
    finally:
        await producer.stop()
    assert {record.key for record in await read_topic(topic, 20)} == {f"o-{n}".encode() for n in range(20)}


async def test_a_record_that_is_too_large_is_never_sent(topic: str) -> None:
    """The size is checked before the broker is asked for: without one it is told at once, and names the setting."""
    producer = Producer(NOWHERE, settings=ProducerSettings(max_bytes=200))
    with pytest.raises(MessageTooLarge, match="SAGATRACE_PRODUCER_MAX_BYTES=200"):
        await producer.publish(topic, key=b"k", value=b"x" * 150, headers=[("h", b"y" * 50)])
    await producer.stop()


async def test_no_broker_is_told_in_time() -> None:
    """A producer that finds no broker says so and names the setting, in bounded time."""
    with pytest.raises(Unavailable, match=f"KAFKA_BOOTSTRAP_SERVERS={NOWHERE}"):
        async with asyncio.timeout(50):
            await Producer(NOWHERE, settings=HASTY).start()


async def test_a_broker_that_says_nothing_is_told_in_time() -> None:
    """Connecting to what accepts and never answers ends at the start timeout, and so does the stop."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = HASTY.model_copy(update={"start_timeout": 0.3})
        producer = Producer(f"127.0.0.1:{silent.getsockname()[1]}", settings=settings)
        async with asyncio.timeout(100):
            with pytest.raises(Unavailable):
                await producer.publish("t", key=b"k", value=b"v")
            await producer.stop()


async def test_a_send_without_a_broker_ends(
    dying_broker: tuple[str, Callable[[], None]],
    topic: str,
    spans: RecordedSpans,
) -> None:
    """With the broker gone a send fails after its attempts, each a failed span, and the stop is bounded too."""
    address, end = dying_broker
    async with Producer(address, settings=HASTY) as producer:
        await producer.publish(topic, key=b"k", value=b"first")
        end()
        began = time.monotonic()
        with pytest.raises((SendFailed, Unavailable)):
            await producer.publish(topic, key=b"k", value=b"second")
    assert is_within(time.monotonic() - began, 10)
    first, *failed = spans.named(f"send {topic}")
    assert first.status.status_code is StatusCode.UNSET
    assert failed
    assert {span.status.status_code for span in failed} == {StatusCode.ERROR}


async def test_a_cancelled_send_leaves_the_producer_usable(
    producer: Producer,
    topic: str,
    read_topic: ReadTopic,
) -> None:
    """Whoever gives up its own send does not take the connection from the others."""
    sending = asyncio.create_task(producer.publish(topic, key=b"a", value=b"given up"))
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])
    await producer.publish(topic, key=b"b", value=b"sent")
    assert b"sent" in {record.value for record in await read_topic(topic, 1)}


async def test_a_poisoned_client_is_replaced(
    broker: str,
    topic: str,
    read_topic: ReadTopic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After an error that an idempotent client never recovers from, the next attempt has a new client."""
    used: list[AIOKafkaProducer] = []
    real: Any = AIOKafkaProducer.send_and_wait

    async def poisoned(client: AIOKafkaProducer, *args: Any, **kwargs: Any) -> Any:
        used.append(client)
        if len(used) == 1:
            raise OutOfOrderSequenceNumber
        return await real(client, *args, **kwargs)

    monkeypatch.setattr(AIOKafkaProducer, "send_and_wait", poisoned)
    async with Producer(broker, settings=HASTY.model_copy(update={"send_timeout": 5.0})) as producer:
        await producer.publish(topic, key=b"k", value=b"v")
    assert len(used) == 2
    assert used[0] is not used[1]
    assert len(await read_topic(topic, 1)) == 1


async def test_attempts_are_counted(broker: str, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A send that keeps failing is tried five times by default, and no more."""
    attempts = 0

    async def failing(*_: Any, **__: Any) -> None:
        nonlocal attempts
        attempts += 1
        raise TimeoutError

    monkeypatch.setattr(AIOKafkaProducer, "send_and_wait", failing)
    async with Producer(broker, settings=ProducerSettings(first_backoff=0.001, longest_backoff=0.002)) as producer:
        with pytest.raises(SendFailed, match="may still have been delivered"):
            await producer.publish(topic, key=b"k", value=b"v")
    assert attempts == 5


async def test_a_stopped_producer_says_so(broker: str, topic: str) -> None:
    """A producer that was stopped sends nothing more, and does not try for long."""
    producer = Producer(broker)
    await producer.start()
    await producer.stop()
    await producer.stop()
    with pytest.raises(SendFailed, match="stopped"):
        async with asyncio.timeout(1):
            await producer.publish(topic, key=b"k", value=b"v")
