"""Batches, traced against a broker."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from opentelemetry.trace import SpanKind, get_tracer

import tracing
from tests.support.instrumented import attributes, traceparents
from tracing.testing import RecordedSpans


async def test_each_record_of_a_batch_is_a_child_of_its_own_span(
    spans: RecordedSpans, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, receive: Any
) -> None:
    """A batch that carries messages of two traces leaves each in its trace, under one send with a link to each."""
    batch = producer.create_batch()
    for name in ("a", "b"):
        with get_tracer("program").start_as_current_span(name), tracing.bind(**{"order.id": name}):
            batch.append(timestamp=None, key=name.encode(), value=b"v", headers=(("app", b"x"),))
    await (await producer.send_batch(batch, topic, partition=2))
    for record in await receive(consumer, 2):
        with tracing.process(record):
            pass
    creates, processes = spans.named(f"create {topic}"), spans.named(f"process {topic}")
    assert [create.parent for create in creates] == [spans.one("a").context, spans.one("b").context]
    assert [process.parent.span_id for process in processes if process.parent] == [
        create.context.span_id for create in creates if create.context
    ]
    assert [attributes(create)["order.id"] for create in creates] == ["a", "b"]
    send = spans.one(f"send {topic}")
    assert (send.kind, [link.context for link in send.links]) == (
        SpanKind.CLIENT,
        [create.context for create in creates],
    )
    assert attributes(send)["messaging.batch.message_count"] == 2
    assert attributes(send)["messaging.kafka.offset"] == 0
    assert spans.metric_points("messaging.client.sent.messages")[0].value == 2


async def test_a_full_batch_says_so_and_can_be_sent(spans: RecordedSpans, open_producer: Any, topic: str) -> None:
    """The record that found no room is not in the batch, and its span says that no message carries it."""
    producer = await open_producer(max_batch_size=700)
    batch = producer.create_batch()
    while batch.append(timestamp=None, key=None, value=b"x" * 100):
        pass
    await (await producer.send_batch(batch, topic, partition=0))
    assert len(spans.named(f"create {topic}")) == batch.record_count()
    assert attributes(spans.one("create"))["sagatrace.batch.full"] is True


async def test_a_send_that_joins_a_batch_is_traced_once(
    spans: RecordedSpans, open_producer: Any, consumer: AIOKafkaConsumer, topic: str, receive: Any
) -> None:
    """Once a batch is handed over, the client may add plain sends to it: those carry their own context, once."""
    producer = await open_producer(linger_ms=200)
    batch = producer.create_batch()
    batch.append(timestamp=None, key=None, value=b"batch")
    sent = await producer.send_batch(batch, topic, partition=0)
    await asyncio.gather(sent, await producer.send(topic, b"single", partition=0))
    records = await receive(consumer, 2)
    assert [len(traceparents(record)) for record in records] == [1, 1]
    assert len(spans.named(f"create {topic}")) == 1
    assert batch.record_count() == 2


async def test_a_batch_that_fails_has_the_error(spans: RecordedSpans, producer: AIOKafkaProducer, topic: str) -> None:
    """A partition that does not exist fails the span of the batch, with the client's own error for the caller."""
    batch = producer.create_batch()
    with pytest.raises(AssertionError):
        await producer.send_batch(batch, topic, partition=99)
    assert attributes(spans.one(f"send {topic}"))["error.type"] == "AssertionError"
