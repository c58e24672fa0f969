"""A trace context in a row: W3C, nothing else, and never an error."""

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach, get_current
from opentelemetry.trace import SpanContext

import tracing
from services.messaging.trace_context import (
    capture,
    capture_below,
    capture_turn,
    link_compensated,
    restore,
    span_context,
)
from tracing.binding import use_context
from tracing.linking import links_in
from tracing.testing import RecordedSpans

_TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_CARRIER = {"traceparent": _TRACEPARENT, "tracestate": "vendor=value"}


def _span_of(carrier: dict[str, str]) -> SpanContext:
    return trace.get_current_span(restore(carrier)).get_span_context()


def test_without_a_span_there_is_nothing_to_keep() -> None:
    """Outside of a trace the captured context is empty, and restores to no span."""
    assert capture() == {}
    assert span_context({}) is None
    assert span_context(None) is None


def test_what_was_captured_comes_back() -> None:
    """Trace id, span id, flags and trace state survive the row."""
    assert capture(restore(_CARRIER)) == _CARRIER
    found = _span_of(_CARRIER)
    assert (found.trace_id, found.span_id) == (0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)
    assert found.is_remote


def test_baggage_and_bound_attributes_are_not_kept() -> None:
    """Only the trace goes into a row, and only the trace comes out of it, whatever is in the current context."""
    token = attach(baggage.set_baggage("customer", "secret", restore(_CARRIER)))
    try:
        assert capture() == _CARRIER
        with tracing.bind(unrelated="here"):
            assert list(restore({**_CARRIER, "baggage": "a=b"})) != list(get_current())
            assert baggage.get_all(restore({**_CARRIER, "baggage": "a=b"})) == {}
    finally:
        detach(token)


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "garbage",
        "\ud800",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        _TRACEPARENT[:-3],
        "ff" + _TRACEPARENT[2:],
    ],
)
def test_a_broken_context_is_no_context(broken: str) -> None:
    """A row that holds nonsense restores to no span, and raises nothing."""
    assert span_context({"traceparent": broken}) is None


def test_what_is_continued_elsewhere_keeps_its_cause() -> None:
    """The parent is the one that was captured earlier, the current span is the cause, and sends link to it."""
    with RecordedSpans(instrumented=False), trace.get_tracer("test").start_as_current_span("reply") as reply:
        kept = capture_below(_CARRIER)
    assert {name: kept[name] for name in _CARRIER} == _CARRIER
    assert _span_of(kept).span_id == 0xB7AD6B7169203331
    (link,) = links_in(restore(kept))
    assert (link.context.trace_id, link.context.span_id) == reply.get_span_context()[:2]
    assert dict(link.attributes or {}) == {"link.type": "caused_by"}
    assert links_in(restore(_CARRIER)) == ()


def test_a_cause_that_can_not_be_read_is_no_cause() -> None:
    """A row that names nonsense as its cause is continued without a link."""
    assert links_in(restore({**_CARRIER, "caused_by": "garbage"})) == ()
    assert links_in(restore({"caused_by": _TRACEPARENT})) == ()


def test_without_a_span_nothing_is_the_cause() -> None:
    """Outside of a trace what was captured is continued as it is, and what was not is not captured either."""
    assert capture_below(_CARRIER) == _CARRIER
    assert capture_below({}) == {}


def test_a_request_without_telemetry_is_caused_by_the_entry() -> None:
    """What a program without spans sends names the saga's own span as its cause."""
    with use_context(restore(_CARRIER)):
        (link,) = links_in(restore(capture_turn(_CARRIER)))
        with RecordedSpans(instrumented=False), trace.get_tracer("test").start_as_current_span("request retry"):
            assert links_in(restore(capture_turn(_CARRIER))) == ()
    assert link.context.span_id == 0xB7AD6B7169203331
    assert capture_turn(_CARRIER) == {}


def test_a_compensation_links_to_what_it_undoes() -> None:
    """The current span gets a link of type `compensates`, and none if nothing is known."""
    with RecordedSpans(instrumented=False) as spans:
        with spans.tracer_provider.get_tracer("test").start_as_current_span("release"):
            link_compensated(_CARRIER)
            link_compensated({})
        (link,) = spans.one("release").links
    assert link.context.span_id == 0xB7AD6B7169203331
    assert dict(link.attributes or {}) == {"link.type": "compensates"}
