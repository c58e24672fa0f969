"""Batches, traced against a broker."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from opentelemetry.instrumentation.utils import suppress_instrumentation
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
            batch.append(timestamp=None, key=name.encode(), value=b"v", headers=[("app", b"x")])
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


def _filled(producer: AIOKafkaProducer, value: bytes) -> tuple[Any, list[object]]:
    """Append until the client says that the batch is full; return the batch and every answer."""
    batch = producer.create_batch()
    answers: list[object] = []
    while len(answers) < 200:
        metadata = batch.append(timestamp=1, key=None, value=value, headers=[("app", b"x")])
        answers.append(metadata and (metadata.offset, metadata.size, metadata.timestamp))
        if metadata is None:
            break
    return batch, [*answers, batch.size(), batch.record_count()]


async def test_a_batch_holds_as_many_records_as_without_tracing(
    spans: RecordedSpans, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, receive: Any
) -> None:
    """Every answer of a batch is the client's own; what found no room for its context is sent all the same."""
    with suppress_instrumentation():
        _, without = _filled(producer, b"x" * 100)
    batch, answers = _filled(producer, b"x" * 100)
    assert answers == without
    await (await producer.send_batch(batch, topic, partition=0))
    count = batch.record_count()
    assert batch.size() <= 16384
    records = await receive(consumer, count)
    assert [(record.value, record.headers[0]) for record in records] == [(b"x" * 100, ("app", b"x"))] * count
    carried = [len(traceparents(record)) for record in records]
    left_out = [attributes(span).get("sagatrace.context.left_out", False) for span in spans.named(f"create {topic}")]
    assert left_out == [not each for each in carried]
    assert len(spans.one(f"send {topic}").links) == 128 < count


async def test_a_batch_with_room_carries_every_context_within_the_limit(
    spans: RecordedSpans, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, receive: Any
) -> None:
    """As many records get a context as the client's limit allows, the first ones first, to the last byte."""
    del spans
    batch = producer.create_batch()
    for _ in range(70):
        assert batch.append(timestamp=None, key=None, value=b"x" * 200) is not None
    plain = batch.size()
    await (await producer.send_batch(batch, topic, partition=0))
    carried = [bool(traceparents(record)) for record in await receive(consumer, 70)]
    context = (batch.size() - plain) // sum(carried)
    assert carried == sorted(carried, reverse=True)
    assert batch.size() <= 16384 < batch.size() + context


async def test_a_single_record_of_any_size_carries_its_context(
    spans: RecordedSpans, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, receive: Any
) -> None:
    """The client takes a first record that is larger than a batch, and then it has room for its context too."""
    del spans
    batch = producer.create_batch()
    batch.append(timestamp=None, key=None, value=b"x" * 20_000)
    await (await producer.send_batch(batch, topic, partition=0))
    (record,) = await receive(consumer, 1)
    assert len(traceparents(record)) == 1


async def test_serializers_of_a_batch_run_once_and_what_was_appended_is_sent(
    spans: RecordedSpans, open_producer: Any, consumer: AIOKafkaConsumer, topic: str, receive: Any
) -> None:
    """A value is what it was at the append, serialised once, whatever the caller does with it afterwards."""
    del spans
    calls: list[object] = []

    def serializer(value: str | None) -> bytearray | None:
        calls.append(value)
        return None if value is None else shared if value == "shared" else bytearray(value.encode())

    shared = bytearray(b"then")
    producer = await open_producer(key_serializer=serializer, value_serializer=serializer)
    batch = producer.create_batch()
    headers = [("app", b"x")]
    batch.append(timestamp=1, key="k", value="shared", headers=headers)
    batch.append(timestamp=2, key=None, value="v")
    shared[:] = b"now "
    headers.clear()
    await (await producer.send_batch(batch, topic, partition=0))
    records = await receive(consumer, 2)
    assert calls == ["k", "shared", None, "v"]
    assert [(r.timestamp, r.key, r.value, len(r.headers)) for r in records] == [
        (1, b"k", b"then", 2),
        (2, None, b"v", 1),
    ]


async def test_a_batch_that_is_never_sent_is_garbage(spans: RecordedSpans, producer: AIOKafkaProducer) -> None:
    """A batch that its program lets go is gone, with its spans, while tracing is on and the producer lives."""
    del spans
    batch = producer.create_batch()
    with get_tracer("program").start_as_current_span("request"):
        batch.append(timestamp=None, key=None, value=b"v")
    gone = weakref.ref(batch)
    del batch
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    "arguments",
    [{}, {"key": b"k", "value": b"v"}, {"timestamp": None, "key": None, "value": b"v", "nonsense": 1}],
    ids=repr,
)
async def test_an_append_that_the_client_refuses_is_refused_in_its_words(
    spans: RecordedSpans, producer: AIOKafkaProducer, arguments: dict[str, Any]
) -> None:
    """A wrong append raises the client's own error, which names the client's class."""
    with suppress_instrumentation(), pytest.raises(TypeError) as without:
        producer.create_batch().append(**arguments)
    with pytest.raises(TypeError) as traced:
        producer.create_batch().append(**arguments)
    assert str(traced.value) == str(without.value)
    assert "BatchBuilder" in str(traced.value)
    assert spans.finished == []
