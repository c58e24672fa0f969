"""Receives, traced against a broker."""

import asyncio
from collections.abc import AsyncIterator
from time import time_ns
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, get_tracer

import tracing
from tests.support.broker import cluster_of
from tests.support.eventually import eventually
from tests.support.instrumented import attributes
from tracing import consuming
from tracing.metrics import Metrics
from tracing.testing import RecordedSpans, links_to


async def test_a_poll_has_everything_the_convention_asks_for(
    spans: RecordedSpans, producer: AIOKafkaProducer, open_consumer: Any, broker: str, topic: str
) -> None:
    """A single record's poll describes the record, links to its send, and is bound to no order."""
    consumer = await open_consumer(group_id=topic, client_id="reader")
    await producer.send_and_wait(topic, b"v", b"o-1", partition=3)
    with tracing.bind(**{"saga.id": "s-1"}):
        await consumer.getone()
    poll = spans.one(f"poll {topic}")
    host, _, port = broker.rpartition(":")
    assert poll.kind is SpanKind.CLIENT
    assert links_to(poll, spans.one(f"send {topic}"))
    assert attributes(poll) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "poll",
        "messaging.operation.type": "receive",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": "3",
        "messaging.consumer.group.name": topic,
        "messaging.client.id": "reader",
        "messaging.kafka.message.key": "o-1",
        "messaging.kafka.cluster.id": cluster_of(broker),
        "messaging.kafka.offset": 0,
        "server.address": host,
        "server.port": int(port),
    }


async def test_three_hops_are_one_trace(
    spans: RecordedSpans, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """A request, a chain of handlers and what they send are connected, in order, with no help from the handlers."""
    with get_tracer("program").start_as_current_span("request") as request:
        await producer.send_and_wait(topic, b"1")
    for hop in range(2, 4):
        with tracing.process(await consumer.getone(), group="test"):
            await producer.send_and_wait(topic, b"%d" % hop)
    trace_id = trace.format_trace_id(request.get_span_context().trace_id)
    spans.assert_connected(trace_id)
    chain = [span.name.split()[0] for span in spans.traces()[trace_id]]
    assert chain == ["request", "send", "process", "send", "process", "send"]


async def test_a_poll_of_several_is_a_batch(
    spans: RecordedSpans, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """Getmany says how many there were, and names no single offset."""
    await producer.send_and_wait(topic, b"v", partition=1)
    polled = await consumer.getmany(timeout_ms=5000)
    assert sum(map(len, polled.values())) == 1
    found = attributes(spans.one(f"poll {topic}"))
    assert found["messaging.batch.message_count"] == 1
    assert found["messaging.destination.partition.id"] == "1"
    assert "messaging.kafka.offset" not in found


async def test_empty_and_cancelled_polls_leave_nothing(spans: RecordedSpans, consumer: AIOKafkaConsumer) -> None:
    """A poll that brought nothing has neither span nor metric."""
    assert await consumer.getmany(timeout_ms=20) == {}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(consumer.getone(), 0.02)
    assert spans.finished == []
    assert spans.metric_points("messaging.client.operation.duration") == []


async def test_stopping_a_consumer_ends_its_loop_without_an_error(
    spans: RecordedSpans, producer: AIOKafkaProducer, open_consumer: Any, topic: str
) -> None:
    """`async for` ends when the consumer is stopped, and that is no failed poll."""
    consumer = await open_consumer()
    await producer.send_and_wait(topic, b"v")
    values = []
    async with asyncio.TaskGroup() as tasks:
        async for record in consumer:
            values.append(record.value)
            tasks.create_task(consumer.stop())
    assert values == [b"v"]
    assert [span.status.status_code for span in spans.named(f"poll {topic}")] == [StatusCode.UNSET]


@pytest.fixture
async def turns(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A clock of polls that moves by a millisecond with each turn of the loop: who waits gives turns, nobody else."""
    now = time_ns()

    async def turn() -> None:
        nonlocal now
        while True:
            now += 1_000_000
            await asyncio.sleep(0)

    monkeypatch.setattr(consuming, "time_ns", lambda: now)
    turning = asyncio.create_task(turn())
    yield
    turning.cancel()


@pytest.mark.usefixtures("turns")
@pytest.mark.parametrize(("poll_spans", "expected"), [(True, 2), ("waited", 1), ("waited_getone", 1), (False, 0)])
async def test_poll_spans_can_be_switched(
    producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, *, poll_spans: Any, expected: int
) -> None:
    """All polls, those that had to wait, or none have a span; all are counted, and all messages can be processed."""
    with RecordedSpans(poll_spans=poll_spans) as spans:
        first = asyncio.create_task(consumer.getone())
        await asyncio.sleep(0)
        sent = [await producer.send(topic, b"v", partition=0) for _ in range(2)]
        await asyncio.gather(*sent, first)
        await prefetched(consumer)
        with tracing.process(await consumer.getone(), group="test"):
            pass
        counted = spans.metric_points("messaging.client.consumed.messages")
    assert len(spans.named(f"poll {topic}")) == expected
    assert links_to(spans.one(f"process {topic}"), spans.named(f"send {topic}")[1])
    assert sum(point.value for point in counted) == 2


@pytest.mark.usefixtures("turns")
@pytest.mark.parametrize(("poll_spans", "expected"), [(True, 1), ("waited", 0), ("waited_getone", 1), (False, 0)])
async def test_a_getmany_that_did_not_wait_is_spared_with_every_poll_alone(
    producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, *, poll_spans: Any, expected: int
) -> None:
    """Its span serves many messages, so the option that spares a single one leaves it."""
    with RecordedSpans(poll_spans=poll_spans) as spans:
        await producer.send_and_wait(topic, b"v", partition=0)
        await prefetched(consumer)
        assert await consumer.getmany()
    assert len(spans.named(f"poll {topic}")) == expected


@pytest.mark.usefixtures("turns")
async def test_whatever_goes_wrong_after_a_receive_the_record_is_the_callers(
    producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record has left the client when its span is thought of, and an error then would lose it."""

    def fail(_: object) -> bool:
        raise RuntimeError("no metrics today")

    with RecordedSpans(poll_spans="waited_getone"):
        await producer.send_and_wait(topic, b"v", partition=0)
        await prefetched(consumer)
        monkeypatch.setattr(Metrics, "enabled", property(fail))
        record = await consumer.getone()
    assert record.value == b"v"


async def prefetched(consumer: AIOKafkaConsumer) -> None:
    """Wait until a record is in the consumer's hands."""
    fetcher: Any = consumer._fetcher
    await eventually(lambda: fetcher._records)


async def test_a_poll_of_unsampled_messages_is_not_recorded(
    spans: RecordedSpans, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, receive: Any
) -> None:
    """Links to spans that nobody recorded are worth no trace; a mixed poll is, and so is one of untraced messages."""
    unsampled = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(0)))
    with trace.use_span(unsampled):
        await producer.send_and_wait(topic, b"v")
    await consumer.getone()
    with trace.use_span(unsampled):
        await producer.send_and_wait(topic, b"v")
    await receive(consumer, 1)
    assert spans.finished == []
    assert sum(point.value for point in spans.metric_points("messaging.client.consumed.messages")) == 2


async def test_a_message_is_counted_once(
    spans: RecordedSpans, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """Received and processed is one delivery; receiving and processing each have their own duration."""
    await producer.send_and_wait(topic, b"v", partition=0)
    with tracing.process(await consumer.getone(), group="test"):
        pass
    (consumed,) = spans.metric_points("messaging.client.consumed.messages")
    (processed,) = spans.metric_points("messaging.process.duration")
    durations = spans.metric_points("messaging.client.operation.duration")
    assert (consumed.value, processed.count) == (1, 1)
    assert "messaging.operation.type" not in consumed.attributes
    assert "messaging.operation.type" not in processed.attributes
    assert sorted(point.attributes["messaging.operation.name"] for point in durations) == ["poll", "send"]
    assert processed.attributes["messaging.consumer.group.name"] == "test"


async def test_a_batch_handler_has_one_span_that_links_to_each(
    spans: RecordedSpans, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, receive: Any
) -> None:
    """Records that are handled together have one process span, linked to every send."""
    for _ in range(3):
        await producer.send_and_wait(topic, b"v")
    with tracing.process(await receive(consumer, 3), group="test"):
        pass
    process = spans.one(f"process {topic}")
    assert process.parent is None
    assert all(links_to(process, send) for send in spans.named(f"send {topic}"))


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])
async def test_a_consume_hook_sees_every_record(
    producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, receive: Any, *, asynchronous: bool
) -> None:
    """A hook gets the poll's span, each record and the arguments; an asynchronous one may still write to the span."""
    seen: list[bytes] = []

    def hook(span: trace.Span, record: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        assert (args, kwargs) == ((), {"timeout_ms": 100})
        seen.append(record.value)
        span.set_attribute("hooked", len(seen))

    async def slow_hook(*args: Any) -> None:
        await asyncio.sleep(0.01)
        hook(*args)

    with RecordedSpans(consume_hook=slow_hook if asynchronous else hook) as spans:
        await producer.send_and_wait(topic, b"1", partition=0)
        await receive(consumer, 1)
        await eventually(lambda: spans.named(f"poll {topic}"))
        assert attributes(spans.one(f"poll {topic}"))["hooked"] == 1
    assert seen == [b"1"]


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])
@pytest.mark.parametrize("poll_spans", [True, False])
async def test_a_consume_hook_runs_inside_the_operation_and_before_it_returns(
    producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, *, asynchronous: bool, poll_spans: bool
) -> None:
    """The poll's span is current, or the message's where there is none, with the message's baggage, in each step."""
    seen: list[tuple[bool, object]] = []
    go_on = asyncio.Event()

    def hook(span: trace.Span, *_: object) -> None:
        now = trace.get_current_span()
        found = now is span if poll_spans else now.get_span_context().span_id == 0xABC
        seen.append((found, baggage.get_baggage("tenant")))

    async def slow_hook(*args: Any) -> None:
        hook(*args)
        await go_on.wait()
        hook(*args)

    headers = [("traceparent", f"00-{1:032x}-{0xABC:016x}-01".encode()), ("baggage", b"tenant=a")]
    await producer.send_and_wait(topic, b"v", headers=headers)
    with RecordedSpans(consume_hook=slow_hook if asynchronous else hook, poll_spans=poll_spans) as spans:
        await consumer.getone()
        assert seen == [(True, "a")]
        assert trace.get_current_span() is trace.INVALID_SPAN
        go_on.set()
        await eventually(lambda: len(seen) == 1 + asynchronous)
        await eventually(lambda: len(spans.named(f"poll {topic}")) == poll_spans)
    assert set(seen) == {(True, "a")}


async def test_consume_hooks_that_raise_cost_nothing(
    producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The record arrives, the span ends, and the fault is logged once."""

    async def hook(*_: object) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("secret")

    with RecordedSpans(consume_hook=hook) as spans:
        for _ in range(2):
            await producer.send_and_wait(topic, b"v")
            assert (await consumer.getone()).value == b"v"
        await eventually(lambda: len(spans.named(f"poll {topic}")) == 2)
    assert len([record for record in caplog.records if record.name == "tracing"]) == 1
    assert "secret" not in caplog.text


async def test_clients_that_were_there_before_are_traced_and_released(
    producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """Instrumenting needs no new client, and after uninstrumenting nothing is left on them."""
    with RecordedSpans() as spans:
        await producer.send_and_wait(topic, b"v")
        assert (await consumer.getone()).headers
    await producer.send_and_wait(topic, b"v")
    assert not (await consumer.getone()).headers
    assert len(spans.finished) == 2


async def test_a_batch_builder_outlives_the_instrumentation(
    producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """A batch begun while tracing can be filled and sent after it has ended."""
    with RecordedSpans():
        batch = producer.create_batch()
    batch.append(timestamp=None, key=None, value=b"v")
    await (await producer.send_batch(batch, topic, partition=0))
    record = await consumer.getone()
    assert (record.value, list(record.headers)) == (b"v", [])


@pytest.mark.parametrize(("limit", "polls"), [(20, 3), (0, 1), (1000, 1)])
async def test_a_poll_links_all_its_messages_whatever_the_provider_keeps(  # noqa: PLR0913, PLR0917 - all are needed
    open_producer: Any, consumer: AIOKafkaConsumer, topic: str, receive: Any, limit: int, polls: int
) -> None:
    """With OTEL_SPAN_LINK_COUNT_LIMIT below the number of messages no link is lost, unless none is kept at all."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(span_limits=SpanLimits(max_links=limit), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    producer = await open_producer(linger_ms=300)
    tracing.instrument(tracer_provider=provider)
    try:
        await asyncio.gather(*[await producer.send(topic, b"v", partition=0) for _ in range(50)])
        await receive(consumer, 50)
    finally:
        tracing.uninstrument()
    finished = exporter.get_finished_spans()
    found = [span for span in finished if span.name == f"poll {topic}"]
    linked = [link.context.span_id for span in found for link in span.links]
    sent = [span.context.span_id for span in finished if span.name == f"send {topic}" and span.context]
    assert len(found) == polls
    assert linked == (sent if limit else [])
