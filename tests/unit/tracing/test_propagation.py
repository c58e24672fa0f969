"""Trace context in and out of Kafka headers."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator, default_getter, default_setter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

import tracing
from tracing.binding import use_context

TRACE_ID = 0x0AF7651916CD43DD8448EB211C80319C
SPAN_ID = 0xB7AD6B7169203331
TRACEPARENT = f"00-{TRACE_ID:032x}-{SPAN_ID:016x}-03".encode()
STALE = b"00-11111111111111111111111111111111-2222222222222222-01"


def context_of(**fields: Any) -> Context:
    """A context with a span of these fields, sampled and random by default."""
    given = {"trace_id": TRACE_ID, "span_id": SPAN_ID, "is_remote": False, "trace_flags": TraceFlags(3), **fields}
    return trace.set_span_in_context(NonRecordingSpan(SpanContext(**given)), Context())


def span_context(carried: Context) -> SpanContext:
    """The span context in a context."""
    return trace.get_current_span(carried).get_span_context()


@pytest.fixture
def b3() -> Iterator[None]:
    """A propagator of another format than W3C."""
    tracing.instrument(propagator=OtherFormat())
    yield
    tracing.uninstrument()


class OtherFormat(TextMapPropagator):
    """Two headers, one of them written only sometimes."""

    def extract(self, carrier: Any, context: Context | None = None, getter: Any = default_getter) -> Context:
        """Read `x-trace`."""
        found = getter.get(carrier, "x-trace")
        if not found:
            return context or Context()
        trace_id, span_id = (int(part, 16) for part in found[0].split(":"))
        return trace.set_span_in_context(NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=True)), context)

    def inject(self, carrier: Any, context: Context | None = None, setter: Any = default_setter) -> None:
        """Write `x-trace`, never `x-parent`."""
        found = trace.get_current_span(context).get_span_context()
        if found.is_valid:
            setter.set(carrier, "x-trace", f"{found.trace_id:x}:{found.span_id:x}")

    @property
    def fields(self) -> set[str]:
        """Both names."""
        return {"x-trace", "x-parent"}


@pytest.mark.parametrize("headers", [None, (), [], "nonsense", 7, {"a": b"1"}, [None, 3, ("a",), (b"a", b"1")]])
def test_inject_accepts_anything(headers: object) -> None:
    """Without headers, or with something that is none, the result is the context alone."""
    assert tracing.inject(headers, context_of()) == [("traceparent", TRACEPARENT)]


@pytest.mark.parametrize("kind", [list, tuple])
def test_inject_replaces_and_leaves_its_argument_alone(kind: type) -> None:
    """Stale context goes, also a tracestate that belonged to it; other headers keep their order."""
    given = kind([("a", b"1"), ("traceparent", STALE), ("tracestate", b"x=y"), ("traceparent", STALE), ("b", None)])
    before = list(given)
    assert tracing.inject(given, context_of()) == [("a", b"1"), ("b", None), ("traceparent", TRACEPARENT)]
    assert list(given) == before


def test_inject_writes_tracestate() -> None:
    """A tracestate travels with its traceparent."""
    written = dict(tracing.inject((), context_of(trace_state=TraceState([("a", "1"), ("b", "2")]))))
    assert written == {"traceparent": TRACEPARENT, "tracestate": b"a=1,b=2"}


def test_inject_takes_the_current_context() -> None:
    """Without a context the current one is written."""
    with use_context(context_of()):
        assert tracing.inject(None) == [("traceparent", TRACEPARENT)]


def test_inject_without_a_span_leaves_the_headers_as_they_are() -> None:
    """Where there is nothing to write, a forwarded message keeps the context it came with."""
    given = [("traceparent", STALE), ("tracestate", b"x=y")]
    written = tracing.inject(given, Context())
    assert written == given
    assert written is not given


def test_baggage_of_the_program_travels() -> None:
    """What the program puts into baggage replaces what the headers had, under the default propagators."""
    carried = baggage.set_baggage("tenant", "a", context_of())
    written = tracing.inject([("baggage", b"stale=1")], carried)
    assert [value for name, value in written if name == "baggage"] == [b"tenant=a"]
    assert baggage.get_all(tracing.extract(written)) == {"tenant": "a"}


@pytest.mark.parametrize(
    "headers", [None, (), "nonsense", 7, [None], [("traceparent", b"\xff")], [("traceparent", None)]]
)
def test_extract_of_nothing_is_an_empty_context(headers: object) -> None:
    """What carries no valid context extracts to nothing, not to the caller's own context."""
    with use_context(context_of()):
        assert not span_context(tracing.extract(headers)).is_valid


def test_extract_takes_the_last_valid_value() -> None:
    """Of several contexts the newest counts, and garbage behind it does not."""
    carried = tracing.extract([("traceparent", STALE), ("traceparent", TRACEPARENT), ("traceparent", b"\xff\xfe")])
    assert span_context(carried) == SpanContext(TRACE_ID, SPAN_ID, is_remote=True, trace_flags=TraceFlags(3))


def test_extract_understands_lists_for_pairs() -> None:
    """Headers as JSON has them are read."""
    assert span_context(tracing.extract([["traceparent", TRACEPARENT], 3])).trace_id == TRACE_ID


@pytest.mark.usefixtures("b3")
def test_any_propagator_is_replaced_whole() -> None:
    """Another format loses all its fields before it writes some, and the W3C headers are none of its business."""
    given = [("x-trace", b"1:1"), ("x-parent", b"stale"), ("traceparent", STALE)]
    written = tracing.inject(given, context_of())
    assert written == [("traceparent", STALE), ("x-trace", f"{TRACE_ID:x}:{SPAN_ID:x}".encode())]
    assert span_context(tracing.extract(written)).span_id == SPAN_ID


@pytest.mark.usefixtures("b3")
def test_a_propagator_that_raises_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An error of a foreign propagator is logged without the header's text, and extract returns nothing."""
    assert not span_context(tracing.extract([("x-trace", b"secret")])).is_valid
    assert "reading trace context" in caplog.text
    assert "secret" not in caplog.text


def test_use_context_restores_what_was_current() -> None:
    """The former context is back after the block, also after an exception."""
    before = context.get_current()
    with use_context(context_of()):
        assert trace.get_current_span().get_span_context().trace_id == TRACE_ID
    assert context.get_current() is before
    with pytest.raises(KeyError), use_context(context_of()):
        raise KeyError
    assert context.get_current() is before
