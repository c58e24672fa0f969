"""Whatever bytes a header holds, context goes in and comes out, and nothing raises."""

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

import tracing
from tracing import headers as kafka
from tracing.wire import parse, render

names = st.sampled_from(["traceparent", "tracestate", "baggage", "app", "TraceParent", ""]) | st.text(max_size=8)
traceparents = st.from_regex(rb"\A00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]\Z")
values = st.none() | st.binary(max_size=64) | traceparents
headers = st.lists(st.tuples(names, values), max_size=8)
anything = st.recursive(st.none() | st.integers() | st.text(max_size=4) | st.binary(max_size=4), st.lists, max_leaves=8)
contexts = st.builds(
    SpanContext,
    trace_id=st.integers(1, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    is_remote=st.just(True),  # noqa: FBT003 - a strategy's value
    trace_flags=st.integers(0, 255).map(TraceFlags),
)


def inside(span_context: SpanContext) -> Context:
    """A context with a span of this context."""
    return trace.set_span_in_context(NonRecordingSpan(span_context), Context())


def found_in(carried: object) -> SpanContext:
    """The span context that headers carry."""
    return trace.get_current_span(tracing.extract(carried)).get_span_context()


@given(anything)
def test_nothing_raises_on_anything(carried: object) -> None:
    """Headers of any shape are read and written without an error."""
    tracing.extract(carried)
    assert isinstance(tracing.inject(carried, Context()), list)


@given(headers, contexts)
def test_what_is_injected_is_extracted(carried: list[kafka.Header], span_context: SpanContext) -> None:
    """The context written is the one read back, whatever the headers held before, and they are left as they were."""
    before = list(carried)
    written = tracing.inject(carried, inside(span_context))
    assert found_in(written) == span_context
    assert [name for name, _ in written].count("traceparent") == 1
    assert carried == before


@given(headers, contexts)
def test_other_headers_survive_in_order(carried: list[kafka.Header], span_context: SpanContext) -> None:
    """Injecting changes trace context alone."""
    written = tracing.inject(tuple(carried), inside(span_context))
    other = [header for header in carried if header[0] not in {"traceparent", "tracestate"}]
    assert [header for header in written if header[0] not in {"traceparent", "tracestate"}] == other


@given(headers, contexts)
def test_injecting_twice_is_injecting_once(carried: list[kafka.Header], span_context: SpanContext) -> None:
    """A message that is forwarded again and again does not grow."""
    once = tracing.inject(carried, inside(span_context))
    assert tracing.inject(once, inside(span_context)) == once


@given(headers, st.binary(max_size=40))
def test_garbage_behind_a_good_value_does_not_hide_it(carried: list[kafka.Header], garbage: bytes) -> None:
    """The last valid traceparent counts."""
    good = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    expected = parse(garbage) or parse(good)
    assert expected is not None
    found = found_in([*carried, ("traceparent", good), ("traceparent", garbage)])
    assert (found.trace_id, found.span_id) == (expected.trace_id, expected.span_id)


@given(contexts)
def test_a_traceparent_has_one_form(span_context: SpanContext) -> None:
    """Rendering and parsing are inverse to each other."""
    assert parse(render(span_context)) == span_context


@given(headers, names, values)
def test_replace_leaves_exactly_one(carried: list[kafka.Header], name: str, value: bytes | None) -> None:
    """Replacing is idempotent and touches no other name."""
    replaced = kafka.replace(carried, name, value)
    assert kafka.replace(replaced, name, value) == replaced
    assert [header for header in replaced if header[0] == name] == [(name, value)]
    assert kafka.drop(replaced, [name]) == kafka.drop(carried, [name])
