"""Lean spans: an SDK span to whoever meets one, under the user's provider."""

import copy
import os
import signal
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    ConcurrentMultiSpanProcessor,
    ReadableSpan,
    Span,
    SpanLimits,
    SpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    StaticSampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from tracing import kafka_span
from tracing.kafka_span import KafkaSpan, starter
from tracing.otlp.encoding import encode_request, encode_span

pytestmark = pytest.mark.skipif("_no_such_name" in kafka_span.PRIVATE, reason="no span is lean in this run")

REMOTE = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(3), trace_state=TraceState([("a", "b")]))
PARENT = trace.set_span_in_context(NonRecordingSpan(REMOTE), Context())


class Seen(SpanProcessor):
    """Keeps what it is called with."""

    def __init__(self) -> None:
        self.started: list[Span] = []
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Keep it, and change it as a processor may."""
        del parent_context
        self.started.append(span)
        span.set_attribute("processor", [1, 2])

    def on_end(self, span: ReadableSpan) -> None:
        """Keep it."""
        self.ended.append(span)


def of_both(seen: Seen, **provider: Any) -> tuple[Any, Any]:
    """Do the same with a lean span and with the SDK's, and return both as they ended."""
    tracers = TracerProvider(**{"sampler": ParentBased(ALWAYS_ON), "shutdown_on_exit": False, **provider})
    tracers.add_span_processor(seen)
    tracer = tracers.get_tracer("t", "1", "https://schema")
    lean = starter(tracer)
    assert lean is not None
    for start in (lean.start, tracer.start_span):
        span: Any = start("a", PARENT, SpanKind.PRODUCER, {"x": "1", "y": 2}, [Link(REMOTE), Link(REMOTE, {"l": 1})], 7)
        exercise(span)
    return seen.ended[0], seen.ended[1]


def exercise(span: Span) -> None:
    """Use every way there is to change a span."""
    span.set_attribute("x", "2")
    span.set_attribute("", "nothing")
    span.set_attributes({"z": True, "list": ["a", "b"], "bytes": b"1"})
    span.add_event("event", {"e": 1}, 8)
    span.add_link(REMOTE, {"more": 1})
    span.update_name("b")
    span.set_status(Status(StatusCode.ERROR, "why"))
    span.record_exception(ValueError("no"), timestamp=9)
    span.end(10)
    span.set_attribute("late", 1)
    span.end(11)


def shown(span: ReadableSpan) -> bytes:
    """What is exported, but for the ids."""
    written = encode_spans([span])
    written.resource_spans[0].scope_spans[0].spans[0].span_id = b""
    text: bytes = written.SerializePartialToString()
    return text


@pytest.mark.parametrize(
    "limits",
    [SpanLimits(), SpanLimits(max_span_attributes=3, max_links=2), SpanLimits(max_events=0, max_links=1)],
    ids=["roomy", "attributes", "events"],
)
def test_it_ends_as_the_sdks_does(limits: SpanLimits) -> None:
    """The same calls leave the same span, within the limits and past them."""
    lean, official = of_both(Seen(), span_limits=limits, resource=Resource({"service.name": "s"}))
    assert shown(lean) == shown(official)
    request = encode_request([(lean.resource, lean.instrumentation_scope, encode_span(lean))])
    assert request == encode_spans([lean]).SerializePartialToString()


def test_a_processor_meets_a_proper_span() -> None:
    """On start it is a Span that can be changed, at the end a ReadableSpan of the provider's resource and scope."""
    seen = Seen()
    ended, _ = of_both(seen)
    assert isinstance(seen.started[0], KafkaSpan)
    assert isinstance(ended, ReadableSpan)
    shown_by: Any = ended
    assert shown_by.parent == REMOTE
    context = shown_by.get_span_context()
    assert (context.trace_id, context.trace_state, context.trace_flags) == (0xABC, REMOTE.trace_state, 3)
    assert shown_by.attributes["processor"] == (1, 2)
    assert shown_by.instrumentation_scope.name == "t"


class Hearing(SpanProcessor):
    """Keeps what it hears of."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Hear of a start."""
        del span, parent_context
        self.heard.append("start")

    def _on_ending(self, span: Span) -> None:
        del span
        self.heard.append("ending")

    def on_end(self, span: ReadableSpan) -> None:
        """Hear of an end."""
        del span
        self.heard.append("end")


class Forwarding(Hearing):
    """A processor of all processors that is not the SDK's: it keeps none, and hears by itself."""

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Take what hears in its place."""
        if isinstance(span_processor, Hearing):
            self.heard = span_processor.heard


@pytest.mark.parametrize("active", [None, ConcurrentMultiSpanProcessor(), Forwarding()], ids=["one", "many", "foreign"])
def test_a_processor_that_is_added_late_hears_of_each_span_from_then_on(active: Any) -> None:
    """Start, what precedes the end, and the end of a lean span are told to whoever listens at that time."""
    tracers = TracerProvider(ALWAYS_ON, shutdown_on_exit=False, active_span_processor=active)
    lean = starter(tracers.get_tracer("t"))
    assert lean is not None
    lean.start("early", PARENT, SpanKind.CLIENT, {}).end()
    silent, late = Seen(), Hearing()
    tracers.add_span_processor(silent)
    lean.start("before", PARENT, SpanKind.CLIENT, {}).end()
    tracers.add_span_processor(late)
    late.heard.clear()
    span: Any = lean.start("a", PARENT, SpanKind.CLIENT, {})
    assert late.heard == ["start"]
    span.end()
    assert late.heard == ["start", "ending", "end"]


@pytest.mark.parametrize("active", [None, ConcurrentMultiSpanProcessor(), Forwarding()], ids=["one", "many", "foreign"])
@pytest.mark.parametrize("is_lean", [True, False], ids=["lean", "official"])
def test_a_processor_that_is_added_while_a_span_is_open_hears_its_whole_end(active: Any, is_lean: bool) -> None:  # noqa: FBT001
    """What precedes the end, and the end, are told to who was added after the start, as with the SDK's spans."""
    tracers = TracerProvider(ALWAYS_ON, shutdown_on_exit=False, active_span_processor=active)
    lean, late = starter(tracers.get_tracer("t")), Hearing()
    assert lean is not None
    start = lean.start if is_lean else tracers.get_tracer("t").start_span
    span: Any = start("a", PARENT, SpanKind.CLIENT, {})
    tracers.add_span_processor(late)
    late.heard.clear()
    span.end()
    assert late.heard == ["ending", "end"]


class Mine(Sampler):
    """A sampler that nobody here knows."""

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        """Take it, with a mark."""
        del args, kwargs
        return SamplingResult(Decision.RECORD_AND_SAMPLE, {"sampled.by": "me"})

    def get_description(self) -> str:
        """Name it."""
        return "AlwaysOnSampler"


@pytest.mark.parametrize(
    ("sampler", "context", "expected"),
    [
        (ParentBased(ALWAYS_ON), PARENT, True),
        (ParentBased(ALWAYS_ON), Context(), True),
        (ALWAYS_ON, Context(), True),
        (ParentBased(TraceIdRatioBased(1.0)), PARENT, True),
        (ParentBased(TraceIdRatioBased(1.0)), Context(), False),
        (Mine(), PARENT, False),
        (ParentBased(ALWAYS_ON, remote_parent_sampled=Mine()), PARENT, False),
        (StaticSampler(Decision.RECORD_ONLY), PARENT, False),
    ],
    ids=["parent", "root", "always", "ratio-parent", "ratio-root", "unknown", "unknown-delegate", "record-only"],
)
def test_a_sampler_that_is_not_certain_is_asked(sampler: Sampler, context: Context, expected: object) -> None:
    """Only where its answer is known the span is lean; else the official tracer starts it."""
    provider = TracerProvider(sampler, shutdown_on_exit=False)
    lean = starter(provider.get_tracer("t"))
    assert lean is not None
    span: Any = lean.start("a", context, SpanKind.CLIENT, {})
    assert isinstance(span, KafkaSpan) is expected
    assert span.is_recording()


def test_limits_that_are_not_known_to_hold_have_the_official_span() -> None:
    """A limit on the length of a value is the SDK's to keep."""
    limited = TracerProvider(span_limits=SpanLimits(max_attribute_length=3), shutdown_on_exit=False)
    assert starter(limited.get_tracer("t")) is None


@pytest.mark.parametrize("attributes", [{"a": ["x"]}, {"": "x"}, {f"a{n}": n for n in range(129)}], ids=str)
def test_what_the_sdk_would_change_is_its_own(attributes: Any) -> None:
    """A list, an empty name, more than there is room for."""
    lean = starter(TracerProvider(ALWAYS_ON, shutdown_on_exit=False).get_tracer("t"))
    assert lean is not None
    assert not isinstance(lean.start("a", None, SpanKind.CLIENT, attributes), KafkaSpan)


def test_a_tracer_of_another_kind_has_no_lean_spans() -> None:
    """Nor has one that lacks a name."""
    assert starter(trace.NoOpTracer()) is None


def test_a_finished_span_is_copied_as_the_sdks_is() -> None:
    """A copy, shallow or deep, is a `ReadableSpan` that says the same, as tests and processors that keep some need."""
    seen = Seen()
    lean = starter(TracerProvider(shutdown_on_exit=False).get_tracer("t"))
    assert lean is not None
    plain: Any = lean.start("plain", PARENT, SpanKind.CLIENT, {"x": "1"}, [Link(REMOTE)])
    plain.end()
    for span in (*of_both(seen), plain):
        for copied in (copy.copy(span), copy.deepcopy(span)):
            assert type(copied) is ReadableSpan
            assert encode_spans([copied]) == encode_spans([span])


def test_the_child_of_a_fork_changes_spans_whatever_its_parent_was_doing() -> None:
    """A thread that was changing a span at the fork is not there in the child, whose spans do not wait for it."""
    lean = starter(TracerProvider(shutdown_on_exit=False).get_tracer("t"))
    assert lean is not None
    with KafkaSpan._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(5)  # ends a child that waits for ever
            lean.start("a", PARENT, SpanKind.CLIENT, {}).update_name("b")
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
