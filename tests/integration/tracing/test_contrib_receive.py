"""Faults of opentelemetry-instrumentation-aiokafka 0.66b1 in receiving, settling, options and metrics.

Contrib must fail each test here.
"""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import SpanKind, StatusCode

from tests.support.eventually import eventually
from tests.support.instrumented import Instrumented, Looking, attributes, duration_s, span_id, traceparents

# What an instrumentation does to a client is the same on every broker.
pytestmark = pytest.mark.brokers("embedded")


async def test_row_16_commits_and_transactions_have_spans(
    instrumented: Instrumented, open_producer: Any, open_consumer: Any, topic: str
) -> None:
    """A commit, the offsets in a transaction and the transaction itself each have a span."""
    producer = await open_producer(transactional_id=topic)
    consumer = await open_consumer(group_id=topic)
    instrumented.start()
    async with producer.transaction():
        await producer.send_and_wait(topic, b"v", partition=0)
        await producer.send_offsets_to_transaction({TopicPartition(topic, 0): 0}, topic)
    await consumer.commit({TopicPartition(topic, 0): 1})
    assert len(instrumented.of_type("settle")) == 2
    assert any(attributes(span).get("messaging.operation.name") == "transaction" for span in instrumented.spans)


async def test_row_18_names_and_kinds_are_those_of_the_convention(
    instrumented: Instrumented, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """Spans are named operation first; a send is of type send, a poll is a CLIENT span linked to the send."""
    instrumented.start()
    await producer.send_and_wait(topic, b"v")
    await consumer.getone()
    (send,) = instrumented.sends
    (poll,) = instrumented.receives
    assert (send.name, send.kind, attributes(send)["messaging.operation.type"]) == (
        f"send {topic}",
        SpanKind.PRODUCER,
        "send",
    )
    assert (poll.name, poll.kind) == (f"poll {topic}", SpanKind.CLIENT)
    assert [link.context.span_id for link in poll.links] == [span_id(send)]
    assert not any("messaging.kafka.message.offset" in attributes(span) for span in (send, poll))


async def test_row_21_plain_functions_are_hooks(
    instrumented: Instrumented, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """A hook that is no coroutine function is called."""
    called: list[str] = []
    instrumented.start(
        async_produce_hook=lambda *_: called.append("produce"), async_consume_hook=lambda *_: called.append("consume")
    )
    await producer.send_and_wait(topic, b"v")
    await consumer.getone()
    assert called == ["produce", "consume"]


async def test_row_22_suppression_is_honoured(
    instrumented: Instrumented, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """Under suppress_instrumentation nothing is traced and no header is added."""
    instrumented.start()
    with suppress_instrumentation():
        await producer.send_and_wait(topic, b"v")
        record = await consumer.getone()
    assert instrumented.spans == []
    assert list(record.headers) == []


async def test_row_23_a_poll_span_lasts_as_long_as_the_wait(
    instrumented: Instrumented, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """A receive that waited 300 ms has a span of that length."""
    instrumented.start()
    receiving = asyncio.create_task(consumer.getone())
    asyncio.get_running_loop().call_later(0.3, lambda: sending.append(asyncio.create_task(send())))
    sending: list[asyncio.Task[None]] = []

    async def send() -> None:
        await producer.send_and_wait(topic, b"v")

    await receiving
    (poll,) = instrumented.receives
    assert duration_s(poll) >= 0.25


async def test_row_24_a_large_poll_is_a_few_spans_with_all_links(
    instrumented: Instrumented, open_producer: Any, consumer: AIOKafkaConsumer, topic: str, receive: Any
) -> None:
    """400 records make one poll span for each 128 of a poll, with a link to every send, and nothing is dropped."""
    producer = await open_producer(linger_ms=100)
    instrumented.start()
    await asyncio.gather(*[await producer.send(topic, b"v", partition=0) for _ in range(400)])
    await receive(consumer, 400)
    polls = instrumented.receives
    linked = {link.context.span_id for poll in polls for link in poll.links}
    assert linked == {span_id(send) for send in instrumented.sends}
    assert max(len(poll.links) for poll in polls) <= 128
    assert len(polls) < 20


async def test_row_25_a_slow_hook_does_not_cost_the_record(
    instrumented: Instrumented, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """An asynchronous consume hook that is slower than the caller's timeout does not lose the record."""
    begun, release = asyncio.Event(), asyncio.Event()

    async def hook(*_: object) -> None:
        begun.set()
        await release.wait()

    await producer.send_and_wait(topic, b"v")
    instrumented.start(async_consume_hook=hook)
    try:
        receiving = asyncio.create_task(consumer.getone())
        await asyncio.wait_for(begun.wait(), 50)
        # As a timeout of the caller's does.
        receiving.cancel()
        assert (await receiving).value == b"v"
    finally:
        release.set()
    await eventually(lambda: instrumented.receives)


async def test_row_26_a_failed_receive_has_a_span(
    instrumented: Instrumented, producer: AIOKafkaProducer, open_consumer: Any, topic: str
) -> None:
    """A value that cannot be deserialised leaves a poll span with the error."""

    def deserializer(_: bytes) -> None:
        raise UnicodeError

    consumer = await open_consumer(value_deserializer=deserializer)
    await producer.send_and_wait(topic, b"v")
    instrumented.start()
    with pytest.raises(UnicodeError):
        await asyncio.wait_for(consumer.getone(), 50)
    (poll,) = instrumented.receives
    assert (poll.status.status_code, attributes(poll)["error.type"]) == (StatusCode.ERROR, "UnicodeError")


async def test_row_28_there_are_metrics(
    instrumented: Instrumented, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """The metrics of the convention are recorded."""
    instrumented.start()
    await producer.send_and_wait(topic, b"v")
    with instrumented.process(await consumer.getone()):
        pass
    data = instrumented.reader.get_metrics_data()
    assert data is not None
    assert {
        metric.name for res in data.resource_metrics for scope in res.scope_metrics for metric in scope.metrics
    } == {
        "messaging.client.operation.duration",
        "messaging.client.sent.messages",
        "messaging.client.consumed.messages",
        "messaging.process.duration",
        "messaging.kafka.queue.time",
    }


async def test_row_31_samplers_see_attributes_and_links(
    instrumented: Instrumented, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """Destination, operation, server and links are there when the sampler decides."""
    sampler = Looking()
    instrumented.start(sampler=sampler)
    await producer.send_and_wait(topic, b"v")
    await consumer.getone()
    (_, send, _), (_, poll, links) = sampler.seen
    wanted = {"messaging.destination.name", "messaging.operation.name", "messaging.system", "server.address"}
    assert wanted <= set(send)
    assert wanted <= set(poll)
    assert links == 1


async def test_row_31_topics_can_be_left_out_and_still_propagate(
    instrumented: Instrumented, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """A topic that is left out has no spans, and the context still travels through it."""
    instrumented.start(exclude_topics=["test-row-31-*"])
    with instrumented.tracer.start_as_current_span("request") as request:
        await producer.send_and_wait(topic, b"v")
    record = await consumer.getone()
    assert [span.name for span in instrumented.spans] == ["request"]
    assert int(traceparents(record)[0].split(b"-")[2], 16) == request.get_span_context().span_id
