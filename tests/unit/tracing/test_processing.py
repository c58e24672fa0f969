"""The process span, without a broker: records are made by hand."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import time
from typing import Any

import pytest
from aiokafka.errors import NotEnoughReplicasError
from opentelemetry import context, trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags, get_tracer

import tracing
from tests.support.conventions import in_old_names
from tracing import telemetry
from tracing.options import Options
from tracing.telemetry import Telemetry
from tracing.testing import RecordedSpans

TRACE_ID = 0x0AF7651916CD43DD8448EB211C80319C
SENDER = SpanContext(TRACE_ID, 0xB7AD6B7169203331, is_remote=True, trace_flags=TraceFlags(1))


def traceparent(span_id: int = SENDER.span_id, flags: str = "01") -> tuple[str, bytes]:
    """The header that a sender writes."""
    return ("traceparent", f"00-{TRACE_ID:032x}-{span_id:016x}-{flags}".encode())


@dataclass
class Record:
    """A received message."""

    topic: str = "orders"
    partition: int = 2
    offset: int = 7
    timestamp: int = 0
    key: object = b"o-1"
    value: object = b"v"
    headers: Any = field(default_factory=lambda: (traceparent(),))


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span as a dict, under the names of 1.44."""
    return in_old_names(span.attributes)


def linked(span: ReadableSpan) -> list[int]:
    """The ids of the spans that a span links to."""
    return [link.context.span_id for link in span.links]


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    """Every span and metric of the test."""
    with RecordedSpans() as recorded:
        yield recorded


def test_the_message_is_parent_and_link(spans: RecordedSpans) -> None:
    """One record's process span is a child of the sender's span and links to it."""
    with tracing.process(Record(), group="audit") as span:
        assert trace.get_current_span() is span
    found = spans.one("process orders")
    assert found.kind is SpanKind.CONSUMER
    assert found.parent == SENDER
    assert linked(found) == [SENDER.span_id]
    assert attributes(found) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "orders",
        "messaging.destination.partition.id": "2",
        "messaging.consumer.group.name": "audit",
        "messaging.kafka.offset": 7,
        "messaging.kafka.message.key": "o-1",
    }


def test_an_ambient_span_becomes_a_link(spans: RecordedSpans) -> None:
    """A recording span around the handler is linked to as ambient, and is current again afterwards."""
    with get_tracer("program").start_as_current_span("cron") as cron:
        with tracing.process(Record()):
            pass
        assert trace.get_current_span() is cron
    found = spans.one("process orders")
    assert found.parent == SENDER
    assert linked(found) == [SENDER.span_id, cron.get_span_context().span_id]
    assert dict(found.links[1].attributes or {}) == {"link.type": "ambient"}


def test_the_ambient_span_can_be_the_parent() -> None:
    """By option the message is a link alone, the parent is what is current, and the message's baggage still counts."""
    with RecordedSpans(process_parent="ambient") as spans:
        headers = (traceparent(), ("baggage", b"tenant=a"))
        with get_tracer("program").start_as_current_span("loop"), tracing.process(Record(headers=headers)):
            assert dict(tracing.inject(None))["baggage"] == b"tenant=a"
        with tracing.process(Record()):
            pass
    child, root = spans.named("process orders")
    assert child.parent == spans.one("loop").context
    assert root.parent is None
    assert linked(child) == linked(root) == [SENDER.span_id]


def test_without_context_the_ambient_span_is_the_parent(spans: RecordedSpans) -> None:
    """A message of a sender that does not trace is a child of what is current, and a root if nothing is."""
    with get_tracer("program").start_as_current_span("cron"), tracing.process(Record(headers=())):
        pass
    with tracing.process(Record(headers=())):
        pass
    child, root = spans.named("process orders")
    assert child.parent == spans.one("cron").context
    assert root.parent is None
    assert linked(child) == linked(root) == []


def test_links_and_attributes_of_the_caller_are_there_at_start(spans: RecordedSpans) -> None:
    """What the caller adds comes after the message's own link, and None is left out."""
    other = SpanContext(1, 2, is_remote=True)
    with tracing.process(Record(), links=[Link(other, {"link.type": "compensates"})], attributes={"a": 1, "b": None}):
        pass
    found = spans.one("process orders")
    assert linked(found) == [SENDER.span_id, 2]
    assert attributes(found)["a"] == 1
    assert "b" not in attributes(found)


def test_a_list_has_links_only(spans: RecordedSpans) -> None:
    """The span of several records continues no message's trace: its parent is what is current."""
    batch = [Record(offset=n, headers=(traceparent(span_id=n + 1),)) for n in range(3)] + [Record(headers=())]
    with get_tracer("program").start_as_current_span("loop"), tracing.process(batch, group="audit"):
        pass
    found = spans.one("process orders")
    assert found.parent == spans.one("loop").context
    assert linked(found) == [1, 2, 3]
    assert in_old_names(found.links[1].attributes) == {
        "messaging.destination.partition.id": "2",
        "messaging.kafka.offset": 1,
    }
    assert attributes(found)["messaging.batch.message_count"] == 4
    assert "messaging.kafka.offset" not in attributes(found)


def test_a_list_of_several_topics_is_named_after_none(spans: RecordedSpans) -> None:
    """Where messages of several topics are processed together the name has no destination."""
    with tracing.process([Record(topic="a"), Record(topic="b")]):
        pass
    assert "messaging.destination.name" not in attributes(spans.one("process"))


@pytest.mark.parametrize("count", [0, 128, 300])
def test_a_list_of_any_length_is_one_span(spans: RecordedSpans, count: int) -> None:
    """No more links are given than the SDK keeps, and the count is the true one."""
    with tracing.process([Record()] * count, links=[Link(SENDER)]):
        pass
    (found,) = spans.finished
    assert len(found.links) == min(count + 1, 128)
    assert found.dropped_links == 0
    assert attributes(found)["messaging.batch.message_count"] == count


@pytest.mark.parametrize(("limit", "kept"), [(0, 0), (1, 1), (20, 20), (1000, 51)])
def test_a_list_links_to_as_many_as_the_provider_keeps(monkeypatch: pytest.MonkeyPatch, limit: int, kept: int) -> None:
    """Neither more nor fewer links are given than the provider's own limit, and the caller's are among them."""
    provider = TracerProvider(span_limits=SpanLimits(max_links=limit), shutdown_on_exit=False)
    monkeypatch.setattr(telemetry, "_default", Telemetry(Options(tracer_provider=provider)))
    batch = [Record(offset=n, headers=(traceparent(span_id=n + 1),)) for n in range(50)]
    with tracing.process(batch, links=[Link(SENDER)]) as span:
        found: Any = span
    assert len(found.links) == kept
    assert [link.context for link in found.links[-1:]] == [SENDER][:kept]


def test_an_exception_fails_the_span_without_its_words(spans: RecordedSpans) -> None:
    """The error goes on to the caller; the span has its type and the lines, and nothing that it says."""
    with pytest.raises(ValueError, match="secret"), tracing.process(Record()):
        raise ValueError("secret")
    found = spans.one("process orders")
    assert found.status.status_code is StatusCode.ERROR
    assert found.status.description == "ValueError"
    assert attributes(found)["error.type"] == "ValueError"
    (event,) = found.events
    assert event.name == "exception"
    assert "test_processing.py" in str((event.attributes or {})["exception.stacktrace"])
    assert "secret" not in found.to_json().replace('raise ValueError(\\"secret\\")', "")


def test_a_handled_error_can_be_final(spans: RecordedSpans) -> None:
    """`fail` marks the span with Kafka's own code, and the metric of the processing as well."""
    with tracing.process(Record(), group="audit") as span:
        tracing.fail(span, NotEnoughReplicasError("payload"))
    found = spans.one("process orders")
    assert found.status.status_code is StatusCode.ERROR
    assert "payload" not in str(found.status.description)
    assert attributes(found)["error.type"] == "NOT_ENOUGH_REPLICAS"
    (point,) = spans.metric_points("messaging.process.duration")
    assert point.attributes["error.type"] == "NOT_ENOUGH_REPLICAS"


def test_a_final_error_of_what_is_not_sampled_is_in_the_metric(spans: RecordedSpans) -> None:
    """`fail` on the current span counts also where the message's sender was not sampled, and there is no span."""
    with tracing.process(Record(headers=(traceparent(flags="00"),)), group="audit"):
        tracing.fail(trace.get_current_span(), TimeoutError())
    assert spans.named("process orders") == []
    (point,) = spans.metric_points("messaging.process.duration")
    assert point.attributes["error.type"] == "TimeoutError"


def test_failing_another_span_does_not_touch_the_processing(spans: RecordedSpans) -> None:
    """`fail` on a span inside leaves the process span unset."""
    with tracing.process(Record()), get_tracer("program").start_as_current_span("query") as query:
        tracing.fail(query, TimeoutError())
    assert spans.one("query").status.status_code is StatusCode.ERROR
    assert spans.one("process orders").status.status_code is StatusCode.UNSET
    (point,) = spans.metric_points("messaging.process.duration")
    assert "error.type" not in point.attributes


def test_success_leaves_the_status_unset(spans: RecordedSpans) -> None:
    """The convention leaves Ok to the user."""
    with tracing.process(Record()):
        pass
    assert spans.one("process orders").status.status_code is StatusCode.UNSET


def test_queue_time_is_the_time_since_the_timestamp(spans: RecordedSpans) -> None:
    """The wait is in milliseconds on the span and in seconds in the metric; 0 for a time to come, none without one."""
    now = int(time() * 1000)
    for timestamp in (now - 120_000, now + 60_000, -1):
        with tracing.process(Record(timestamp=timestamp), group="audit"):
            pass
    waited = [attributes(span).get("messaging.kafka.queue.time_ms") for span in spans.named("process orders")]
    assert waited == [pytest.approx(120_000, abs=5_000), 0, None]
    assert [type(value) for value in waited[:2]] == [int, int]
    (point,) = spans.metric_points("messaging.kafka.queue.time")
    assert (point.count, point.max) == (2, pytest.approx(120, abs=5))


@pytest.mark.parametrize(
    ("value", "size", "tombstone"), [(None, -1, True), (None, 4, False), (b"", 0, False)], ids=["none", "null", "empty"]
)
def test_a_tombstone_has_no_bytes(spans: RecordedSpans, value: object, size: int, *, tombstone: bool) -> None:
    """A value that a deserializer made None of is no tombstone."""
    record = Record(value=value)
    record.serialized_value_size = size  # type: ignore[attr-defined]
    with tracing.process(record):
        pass
    assert ("messaging.kafka.message.tombstone" in attributes(spans.one("process orders"))) is tombstone


def test_an_unsampled_message_stays_unsampled() -> None:
    """No span is started for it, what is sent inside is unsampled too, and the metrics count it."""
    with RecordedSpans() as spans:
        with tracing.process(Record(headers=(traceparent(flags="00"),)), group="audit") as span:
            assert not span.is_recording()
            assert tracing.inject(None) == [traceparent(flags="00")]
        assert spans.finished == []
        assert spans.metric_points("messaging.process.duration")[0].count == 1


def test_a_sampler_that_does_not_follow_parents_is_asked() -> None:
    """An unsampled parent is a reason not to ask only for samplers that are known to follow it."""
    with RecordedSpans(sampler=ALWAYS_ON) as spans, tracing.process(Record(headers=(traceparent(flags="00"),))):
        pass
    assert spans.one("process orders").parent is not None


def test_a_topic_that_is_left_out_keeps_its_context() -> None:
    """No span and no metric, but the message's context is current inside."""
    with RecordedSpans(exclude_topics=["ord*"]) as spans:
        with tracing.process(Record()) as span:
            assert not span.is_recording()
            assert tracing.inject(None) == [traceparent()]
        assert spans.finished == []
        assert spans.metric_points("messaging.process.duration") == []


def test_suppression_is_honoured(spans: RecordedSpans) -> None:
    """Under suppress_instrumentation nothing is traced and nothing attached."""
    with suppress_instrumentation():
        before = context.get_current()
        with tracing.process(Record()):
            assert context.get_current() is before
    assert spans.finished == []


@pytest.mark.parametrize("headers", [None, "garbage", [3], ({"a": 1},), (("traceparent", b"\xff\xfe"),)])
def test_broken_headers_do_not_cost_the_handler(spans: RecordedSpans, headers: object) -> None:
    """Whatever the headers are, the handler runs in a span."""
    with tracing.process(Record(headers=headers)) as span:
        assert span.is_recording()
    assert spans.one("process orders").parent is None


@pytest.mark.parametrize("record", [None, object(), [object()], 7])
def test_what_is_no_record_does_not_cost_the_handler(
    spans: RecordedSpans, record: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The handler runs untraced, its error comes through, and one line is logged, once."""
    for _ in range(2):
        with pytest.raises(KeyError), tracing.process(record):
            raise KeyError
    assert spans.finished == []
    assert len([line for line in caplog.records if line.levelname == "WARNING"]) == 1


def test_baggage_of_the_message_is_current_inside(spans: RecordedSpans) -> None:
    """What the sender put into baggage goes on to what the handler sends."""
    with tracing.process(Record(headers=(traceparent(), ("baggage", b"tenant=a")))):
        written = dict(tracing.inject(None))
    assert written["baggage"] == b"tenant=a"
    assert spans.finished


def test_captured_headers_are_attributes() -> None:
    """Headers of the allow-list become attributes, all values of a name, and others do not."""
    headers = (("app", b"x"), ("app", b"\xff"), ("secret", b"s"), ("none", None), ("app-id", b"y" * 300))
    with RecordedSpans(captured_headers=["app", "none", "app-id"]) as spans, tracing.process(Record(headers=headers)):
        pass
    found = {name: value for name, value in attributes(spans.one("process orders")).items() if "header" in name}
    assert found == {"messaging.header.app": ("x", "�"), "messaging.header.app-id": ("y" * 256,)}


def test_it_works_without_instrumentation() -> None:
    """A consumer that nobody instrumented can still be traced; then processing counts the deliveries."""
    with RecordedSpans(instrumented=False) as spans, tracing.process(Record(), group="audit"):
        pass
    assert spans.one("process orders").parent == SENDER


def test_a_context_manager_can_be_entered_only_by_its_task() -> None:
    """Leaving a block that was never entered restores nothing and raises nothing."""
    tracing.process(Record()).__exit__(None, None, None)


def test_closing_a_generator_is_no_failure() -> None:
    """A generator that is closed in the midst of a handler ends the span without an error."""

    def handler() -> Iterator[int]:
        with tracing.process(Record()):
            yield 1

    with RecordedSpans() as spans:
        working = handler()
        next(working)
        working.close()  # type: ignore[attr-defined]
    assert spans.one("process orders").status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"message.type": "order.placed"}, "process order.placed"),
        ({"message.type": ""}, "process orders"),
        ({"message.type": 7}, "process orders"),
        ({"message.type": None}, "process orders"),
        ({}, "process orders"),
    ],
)
def test_an_attribute_names_the_span(given: dict[str, object], name: str) -> None:
    """With `name_attribute` a text names the span in the topic's place, which stays in its attribute and the metric."""
    with RecordedSpans(name_attribute="message.type") as spans, tracing.process(Record(), attributes=given):
        pass
    (span,) = spans.finished
    assert (span.name, attributes(span)["messaging.destination.name"]) == (name, "orders")
    (point,) = spans.metric_points("messaging.process.duration")
    assert point.attributes["messaging.destination.name"] == "orders"
    assert "message.type" not in point.attributes


def test_a_bound_attribute_names_what_is_processed_below() -> None:
    """What is bound names the spans below, and a list of records keeps its topic: its span serves many messages."""
    with RecordedSpans(name_attribute="message.type") as spans, tracing.bind(**{"message.type": "order.placed"}):
        with tracing.process(Record()):
            pass
        with tracing.process([Record(), Record(offset=8)]):
            pass
    assert [span.name for span in spans.finished] == ["process order.placed", "process orders"]


def test_an_attribute_names_nothing_unless_it_is_asked_for(spans: RecordedSpans) -> None:
    """Without the option the convention's name stays, whatever is bound."""
    with tracing.bind(**{"message.type": "order.placed"}), tracing.process(Record()):
        pass
    assert [span.name for span in spans.finished] == ["process orders"]


def test_a_failure_may_be_described(spans: RecordedSpans) -> None:
    """The caller of `fail` may describe the status; `error.type` stays the error's class."""
    with tracing.process(Record()) as span:
        tracing.fail(span, ValueError("a payload"), "Invalid: total.amount: int_type")
    found = spans.one("process orders")
    assert found.status.description == "Invalid: total.amount: int_type"
    assert attributes(found)["error.type"] == "ValueError"
