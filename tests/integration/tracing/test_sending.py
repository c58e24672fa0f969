"""Sends, traced against a broker."""

import asyncio
import gc
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, get_tracer

import tracing
from tests.support.broker import cluster_of
from tests.support.instrumented import attributes, traceparents
from tracing.binding import use_context
from tracing.linking import with_links
from tracing.testing import RecordedSpans, is_child

UNSAMPLED = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(0))


async def test_a_send_has_everything_the_convention_asks_for(
    spans: RecordedSpans, producer: AIOKafkaProducer, broker: str, topic: str
) -> None:
    """Name, kind, parent and every attribute, and neither key type nor value anywhere."""
    with (
        get_tracer("program").start_as_current_span("request"),
        tracing.bind("saga.id", **{"saga.id": "s-1"}),
    ):
        metadata = await producer.send_and_wait(topic, b"secret", b"o-1")
    send = spans.one(f"send {topic}")
    host, _, port = broker.rpartition(":")
    assert send.kind is SpanKind.PRODUCER
    assert is_child(send, spans.one("request"))
    assert send.status.status_code is StatusCode.UNSET
    assert attributes(send) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(metadata.partition),
        "messaging.client.id": producer.client._client_id,
        "messaging.kafka.message.key": "o-1",
        "messaging.kafka.cluster.id": cluster_of(broker),
        "messaging.kafka.offset": metadata.offset,
        "messaging.message.conversation_id": "s-1",
        "saga.id": "s-1",
        "server.address": host,
        "server.port": int(port),
    }
    assert "secret" not in send.to_json()


async def test_a_send_starts_with_the_links_of_its_context(
    spans: RecordedSpans, producer: AIOKafkaProducer, topic: str
) -> None:
    """A send, and each record of a batch, links to what caused it, and nothing that is started later does."""
    cause = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(1))
    with use_context(with_links(get_current(), Link(cause, {"link.type": "caused_by"}))):
        await producer.send_and_wait(topic, b"v", b"k")
        batch = producer.create_batch()
        batch.append(key=b"k", value=b"v", timestamp=None)
        await (await producer.send_batch(batch, topic, partition=0))
    await producer.send_and_wait(topic, b"v", b"later")
    first, *_, later = [span for span in spans.named(f"send {topic}") if span.kind is SpanKind.PRODUCER]
    for span in (first, spans.one(f"create {topic}")):
        (link,) = span.links
        assert (link.context, dict(link.attributes or {})) == (cause, {"link.type": "caused_by"})
    assert not later.links


async def test_a_bound_attribute_names_a_send(producer: AIOKafkaProducer, topic: str) -> None:
    """With `name_attribute` a bound text names the send and each create span of a batch; the topic stays beside it."""
    with RecordedSpans(name_attribute="message.type") as spans:
        with tracing.bind(**{"message.type": "order.placed"}):
            await producer.send_and_wait(topic, b"v", partition=0)
            batch = producer.create_batch()
            batch.append(key=None, value=b"v", timestamp=None)
        batch.append(key=None, value=b"v", timestamp=None)
        await (await producer.send_batch(batch, topic, partition=0))
        await producer.send_and_wait(topic, b"v", partition=0)
    names = ["send order.placed", "create order.placed", f"create {topic}", f"send {topic}", f"send {topic}"]
    assert [span.name for span in spans.finished] == names
    assert {attributes(span)["messaging.destination.name"] for span in spans.finished} == {topic}


async def test_a_span_ends_before_the_caller_goes_on(
    spans: RecordedSpans, producer: AIOKafkaProducer, topic: str
) -> None:
    """Who has awaited the acknowledgement finds the span ended, and who has not finds it open."""
    future = await producer.send(topic, b"v", partition=0)
    assert spans.finished == []
    await future
    assert len(spans.finished) == 1


async def test_a_cancelled_send_ends_its_span(spans: RecordedSpans, open_producer: Any, topic: str) -> None:
    """A caller that stops waiting for the acknowledgement leaves a span with that error."""
    producer = await open_producer(linger_ms=300)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(producer.send_and_wait(topic, b"v", partition=0), 0.05)
    send = spans.one(f"send {topic}")
    assert (send.status.status_code, attributes(send)["error.type"]) == (
        StatusCode.ERROR,
        "asyncio.exceptions.CancelledError",
    )


async def test_without_acknowledgements_a_span_ends_without_an_offset(
    spans: RecordedSpans, open_producer: Any, topic: str
) -> None:
    """With acks=0 nobody knows the offset, and the span ends all the same."""
    producer = await open_producer(acks=0)
    assert await producer.send_and_wait(topic, b"v", partition=1) is None
    found = attributes(spans.one(f"send {topic}"))
    assert found["messaging.destination.partition.id"] == "1"
    assert "messaging.kafka.offset" not in found


async def test_an_error_that_nobody_retrieves_is_still_reported(
    spans: RecordedSpans, open_producer: Any, topic: str
) -> None:
    """The span's own look at the failed future does not silence asyncio's warning about it."""
    heard: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["message"]))
    producer = await open_producer(linger_ms=1000)
    future = await producer.send(topic, b"v", partition=0)
    future.set_exception(RuntimeError("lost"))
    await asyncio.sleep(0)
    assert spans.one(f"send {topic}").status.status_code is StatusCode.ERROR
    producer._message_accumulator._batches.clear()
    del future
    gc.collect()
    assert heard == ["Future exception was never retrieved"]


@pytest.mark.parametrize("headers", [[("app", b"x")], None, [], ()], ids=repr)
async def test_headers_that_the_client_takes_are_sent_with_the_context(
    spans: RecordedSpans, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, headers: Any
) -> None:
    """A list of headers, and none in whatever form, go out with the context behind them."""
    await producer.send_and_wait(topic, b"v", headers=headers)
    record = await consumer.getone()
    assert [name for name, _ in record.headers] == [*(name for name, _ in headers or ()), "traceparent"]
    assert len(spans.named(f"send {topic}")) == 1


@pytest.mark.parametrize(
    "headers",
    [
        *([("app", "text")], [("app",)], [3], 3, [(b"app", b"x")]),
        *((("app", b"x"),), {"app": b"x"}, [["app", b"x"]], [("traceparent", "text")], [["traceparent", b"x"]]),
    ],
    ids=repr,
)
async def test_headers_that_the_client_refuses_are_refused_as_before(
    spans: RecordedSpans, producer: AIOKafkaProducer, topic: str, headers: Any
) -> None:
    """Bad headers, also those that are no list, raise the client's own error, which is on the span."""
    with suppress_instrumentation(), pytest.raises(Exception) as without:  # noqa: PT011 - whatever the client raises
        await producer.send(topic, b"v", headers=headers)
    with pytest.raises(without.type) as traced:
        await producer.send(topic, b"v", headers=headers)
    assert str(traced.value) == str(without.value)
    assert spans.one(f"send {topic}").status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("arguments", [(), ([], b"v"), ("t", b"v", b"k", 0, 0, [], 7)], ids=repr)
async def test_a_call_that_the_client_refuses_is_refused_as_before(
    spans: RecordedSpans, producer: AIOKafkaProducer, arguments: tuple[Any, ...]
) -> None:
    """Wrong arguments raise the client's own error."""
    with suppress_instrumentation(), pytest.raises(Exception) as without:  # noqa: PT011 - whatever the client raises
        await producer.send(*arguments)
    with pytest.raises(without.type):
        await producer.send(*arguments)
    del spans


async def test_an_unsampled_context_travels(
    spans: RecordedSpans, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """Below an unsampled span nothing is recorded, its context goes on as it is, and the metrics count."""
    with trace.use_span(NonRecordingSpan(UNSAMPLED)):
        await producer.send_and_wait(topic, b"v")
    record = await consumer.getone()
    assert traceparents(record) == [f"00-{0xABC:032x}-{0xDEF:016x}-00".encode()]
    assert spans.finished == []
    assert spans.metric_points("messaging.client.sent.messages")[0].value == 1


async def test_a_dropped_root_is_told_to_the_receiver(
    open_consumer: Any, producer: AIOKafkaProducer, topic: str
) -> None:
    """When the sampler drops a trace at its root, the message says so, and the receiver does not start it anew."""
    with RecordedSpans(sampler=ALWAYS_OFF) as spans:
        await producer.send_and_wait(topic, b"v")
        consumer = await open_consumer()
        record = await consumer.getone()
    assert traceparents(record)[0][-2:] in {b"00", b"02"}
    assert spans.finished == []


async def test_without_an_sdk_context_is_passed_on(
    producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """A program without a provider forwards the trace of the message it handles."""
    tracing.instrument(tracer_provider=trace.NoOpTracerProvider())
    try:
        with trace.use_span(NonRecordingSpan(SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1)))):
            await producer.send_and_wait(topic, b"first")
        with tracing.process(await consumer.getone()):
            await producer.send_and_wait(topic, b"second")
        record = await consumer.getone()
    finally:
        tracing.uninstrument()
    assert traceparents(record) == [b"00-00000000000000000000000000000001-0000000000000002-01"]


async def test_failures_are_counted_with_their_type(
    spans: RecordedSpans, producer: AIOKafkaProducer, topic: str
) -> None:
    """The metrics of a failed send carry the same error.type as its span."""
    with pytest.raises(TypeError):
        await producer.send(topic, object())
    error = attributes(spans.one(f"send {topic}"))["error.type"]
    for metric in ("messaging.client.operation.duration", "messaging.client.sent.messages"):
        (point,) = spans.metric_points(metric)
        assert point.attributes["error.type"] == error == "TypeError"


async def test_the_duration_metric_is_the_duration_of_the_span(
    spans: RecordedSpans, open_producer: Any, topic: str
) -> None:
    """Both are measured once, from the call to the acknowledgement."""
    producer = await open_producer(linger_ms=50)
    await producer.send_and_wait(topic, b"v")
    send = spans.one(f"send {topic}")
    (point,) = spans.metric_points("messaging.client.operation.duration")
    assert point.sum == pytest.approx(((send.end_time or 0) - (send.start_time or 0)) / 1e9)
    assert "messaging.client.id" not in point.attributes


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])
async def test_a_produce_hook_sees_the_call_as_contrib_shows_it(
    producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, *, asynchronous: bool
) -> None:
    """A hook gets the span, the arguments as given and the headers by name, and may add to both."""
    seen: list[tuple[Any, ...]] = []

    def hook(span: trace.Span, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append((args, set(kwargs)))
        span.set_attribute("hooked", value=True)
        kwargs["headers"].append(("hook", b"x"))

    async def slow_hook(*args: Any) -> None:
        await asyncio.sleep(0)
        hook(*args)

    with RecordedSpans(produce_hook=slow_hook if asynchronous else hook) as spans:
        await producer.send(topic, value=b"v", key=b"k")
        await producer.send_and_wait(topic, b"v", None, 0)
    assert seen == [((topic,), {"value", "key", "headers"}), ((topic, b"v", None, 0, None), {"headers"})]
    assert all(attributes(span)["hooked"] for span in spans.named(f"send {topic}"))
    assert [name for name, _ in (await consumer.getone()).headers] == ["traceparent", "hook"]


async def test_a_produce_hook_runs_inside_the_send(producer: AIOKafkaProducer, topic: str) -> None:
    """What a hook starts is below the send's span, and the caller's span is current again afterwards."""

    async def hook(span: trace.Span, *_: object) -> None:
        assert trace.get_current_span() is span
        await asyncio.sleep(0)
        get_tracer("hook").start_span("in the hook").end()

    with RecordedSpans(produce_hook=hook) as spans, get_tracer("program").start_as_current_span("request") as request:
        await producer.send_and_wait(topic, b"v")
        assert trace.get_current_span() is request
    assert is_child(spans.one("in the hook"), spans.one(f"send {topic}"))


async def test_a_hook_that_raises_costs_nothing(
    producer: AIOKafkaProducer, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The message is sent, and the fault logged once."""

    def hook(*_: object) -> None:
        raise RuntimeError("secret")

    with RecordedSpans(produce_hook=hook) as spans:
        for _ in range(3):
            await producer.send_and_wait(topic, b"v")
    assert len(spans.finished) == 3
    assert len([record for record in caplog.records if record.name == "tracing"]) == 1
    assert "secret" not in caplog.text


async def test_a_call_with_a_hook_and_wrong_arguments_is_refused_as_before(producer: AIOKafkaProducer) -> None:
    """The hook is not asked about a call that the client refuses."""
    with RecordedSpans(produce_hook=print) as spans, pytest.raises(TypeError):
        await producer.send("t", nonsense=1)  # type: ignore[call-arg]  # as a mistaken caller does
    assert spans.finished == []


_LIMIT = 500
#: The largest value that the client takes within the limit, with a header and a key of three bytes.
_LARGEST = b"x" * (_LIMIT - DefaultRecordBatchBuilder.estimate_size_in_bytes(b"key", b"x" * 200, [("a", b"b")]) + 200)


@pytest.mark.parametrize("serialized", [True, False], ids=["serializers", "bytes"])
@pytest.mark.parametrize("hooked", [True, False], ids=["hook", "plain"])
async def test_a_message_that_fits_without_its_context_goes_out_without_it(  # noqa: PLR0913 - all are needed
    open_producer: Any, consumer: AIOKafkaConsumer, topic: str, receive: Any, *, serialized: bool, hooked: bool
) -> None:
    """Within the last 70 bytes of max_request_size a message is sent as the caller gave it, and its span says so."""
    calls: list[object] = []

    def serializer(value: bytes) -> bytes:
        calls.append(value)
        return value

    settings = {"key_serializer": serializer, "value_serializer": serializer} if serialized else {}
    producer = await open_producer(max_request_size=_LIMIT, **settings)
    with RecordedSpans(produce_hook=(lambda *_: None) if hooked else None) as spans:
        for value in (_LARGEST, _LARGEST[70:]):
            await producer.send_and_wait(topic, value, b"key", partition=0, headers=[("a", b"b")])
        before = len(calls)
        with pytest.raises(MessageSizeTooLargeError) as traced:
            await producer.send(topic, _LARGEST + b"x", b"key", headers=[("a", b"b")])
    with pytest.raises(MessageSizeTooLargeError) as untraced:
        await producer.send(topic, _LARGEST + b"x", b"key", headers=[("a", b"b")])
    names = [[name for name, _ in record.headers] for record in await receive(consumer, 2)]
    assert names == [["a"], ["a", "traceparent"]]
    largest, smaller, refused = spans.named(f"send {topic}")
    assert [attributes(span).get("sagatrace.context.left_out") for span in (largest, smaller)] == [True, None]
    assert largest.status.status_code is StatusCode.UNSET
    assert refused.status.status_code is StatusCode.ERROR
    assert str(traced.value) == str(untraced.value)
    assert (before, len(calls)) == ((4, 8) if serialized else (0, 0))
