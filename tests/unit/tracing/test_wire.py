"""The short cut for W3C Trace Context agrees with the recommendation and with the API's propagator."""

import logging

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanContext, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tracing.wire import _parsed, parse, render

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
GOOD = f"00-{TRACE_ID}-{SPAN_ID}-01".encode()


@pytest.mark.parametrize(
    "traceparent",
    [
        GOOD,
        b" \t" + GOOD + b" ",
        f"00-{TRACE_ID}-{SPAN_ID}-03".encode(),
        f"00-{TRACE_ID}-{SPAN_ID}-00".encode(),
        f"cc-{TRACE_ID}-{SPAN_ID}-01-what-the-future-holds".encode(),
        f"cc-{TRACE_ID}-{SPAN_ID}-01".encode(),
        GOOD + b"-00",
        GOOD + b"x",
        GOOD[:-1],
        f"ff-{TRACE_ID}-{SPAN_ID}-01".encode(),
        f"00-{'0' * 32}-{SPAN_ID}-01".encode(),
        f"00-{TRACE_ID}-{'0' * 16}-01".encode(),
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01".encode(),
        f"00-{TRACE_ID[:-2]}_1-{SPAN_ID}-01".encode(),
        b"",
        b"-",
    ],
)
def test_parse_reads_what_the_propagator_of_the_api_reads(traceparent: bytes) -> None:
    """A traceparent is accepted or refused as by the API's own propagator."""
    context = TraceContextTextMapPropagator().extract({"traceparent": [traceparent.decode()]})
    expected = trace.get_current_span(context).get_span_context()
    found = parse(traceparent)
    assert found == (expected if expected.is_valid else None)


def test_render_is_the_inverse_of_parse() -> None:
    """What is written is read back as it was, unknown flags too."""
    context = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(0x83))
    assert render(context) == b"00-00000000000000000000000000000abc-0000000000000def-83"
    assert parse(render(context)) == context


@pytest.mark.parametrize(
    ("tracestate", "expected"),
    [
        (b"a=1,b=2", {"a": "1", "b": "2"}),
        (b" a=1 , ,b=2,", {"a": "1", "b": "2"}),
        (b"tenant@system=x", {"tenant@system": "x"}),
        (b"a=1,a=2", {}),
        (b"A=1", {}),
        (b"a", {}),
        (b"a=1,b", {}),
        (b"\xff=1", {}),
        (b"a=" + b"x" * 600, {}),
        (b",".join(b"k%d=v" % n for n in range(33)), {}),
        (None, {}),
    ],
)
def test_a_tracestate_is_read_whole_or_not_at_all(
    tracestate: bytes | None, expected: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """A malformed member drops the tracestate, keeps the traceparent, and is not logged."""
    with caplog.at_level(logging.DEBUG):
        found = parse(GOOD, tracestate)
    assert found is not None
    assert dict(found.trace_state) == expected
    assert isinstance(found.trace_state, TraceState)
    assert caplog.records == []


def test_large_headers_are_not_remembered() -> None:
    """What is too large to be valid is refused before it gets into the cache; a large tracestate costs only itself."""
    before = _parsed.cache_info().currsize
    assert parse(f"cc-{TRACE_ID}-{SPAN_ID}-01-".encode() + b"x" * 100_000) is None
    assert _parsed.cache_info().currsize == before
    context = parse(GOOD, b"a=" + b"x" * 100_000)
    assert context is not None
    assert not context.trace_state
    assert _parsed.cache_info().currsize <= before + 1
