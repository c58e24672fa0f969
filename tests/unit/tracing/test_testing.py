"""The helpers for tests, which are part of the product."""

import threading

import pytest
from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags, get_tracer

import tracing
from tracing.testing import RecordedSpans, is_child, links_to

#: Taken before anything records, as a module of a program does.
TRACER = get_tracer("program")


def test_a_tree_shows_names_kinds_errors_and_links() -> None:
    """Children are indented under their parent in the order of their start, and traces stand one after the other."""
    with RecordedSpans() as spans:
        with TRACER.start_as_current_span("request", kind=SpanKind.SERVER) as request:
            with TRACER.start_as_current_span("first"):
                TRACER.start_span("deeper").end()
            with TRACER.start_as_current_span("second") as second:
                tracing.fail(second, TimeoutError())
        TRACER.start_span("later", links=[Link(request.get_span_context())]).end()
    assert spans.tree().splitlines() == [
        "request [SERVER]",
        "  first [INTERNAL]",
        "    deeper [INTERNAL]",
        "  second [INTERNAL] ERROR TimeoutError",
        "later [INTERNAL] links=1",
    ]


def test_one_finds_the_one_span_or_shows_what_there_is() -> None:
    """A name that no span or several spans have is an error with the tree in it."""
    with RecordedSpans() as spans:
        for name in ("a", "b", "b"):
            TRACER.start_span(name).end()
    assert spans.one("a").name == "a"
    assert len(spans.named("b")) == 2
    for name in ("b", "c"):
        with pytest.raises(AssertionError, match=r"a \[INTERNAL\]"):
            spans.one(name)


def test_connected_is_one_root_and_no_orphan() -> None:
    """Two traces, two roots and a missing parent each fail, and naming a trace looks at that one alone."""
    with RecordedSpans() as spans:
        with pytest.raises(AssertionError, match="0 traces"):
            spans.assert_connected()
        with TRACER.start_as_current_span("root") as root:
            TRACER.start_span("child").end()
        spans.assert_connected()
        TRACER.start_span("another root").end()
        with pytest.raises(AssertionError, match="2 traces"):
            spans.assert_connected()
        spans.assert_connected(trace.format_trace_id(root.get_span_context().trace_id))
        spans.clear()
        with trace.use_span(root):
            TRACER.start_span("orphan").end()
        with pytest.raises(AssertionError, match="orphan"):
            spans.assert_connected()
        assert spans.tree() == "orphan [INTERNAL] (parent not recorded)"


def test_a_request_from_outside_is_a_root() -> None:
    """A SERVER span may continue a caller's trace; any other span with a remote parent that is missing is an orphan."""
    caller = trace.NonRecordingSpan(SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1)))
    with RecordedSpans() as spans, trace.use_span(caller):
        with TRACER.start_as_current_span("request", kind=SpanKind.SERVER):
            TRACER.start_span("work").end()
        spans.assert_connected()
        TRACER.start_span("lost", kind=SpanKind.CONSUMER).end()
        with pytest.raises(AssertionError, match="lost"):
            spans.assert_connected()


def test_options_that_are_refused_leave_nothing_behind() -> None:
    """Recording can start after an attempt with a bad option."""
    with pytest.raises(tracing.InvalidOption), RecordedSpans(message_key="md5"):
        pass
    with RecordedSpans() as spans:
        assert spans.finished == []


def test_relations_between_spans() -> None:
    """Children and links can be asked for."""
    with RecordedSpans() as spans, TRACER.start_as_current_span("parent") as parent:
        TRACER.start_span("child", links=[Link(parent.get_span_context())]).end()
    above, below = spans.one("parent"), spans.one("child")
    assert spans.children(above) == [below]
    assert is_child(below, above)
    assert not is_child(above, below)
    assert links_to(below, above)
    assert not links_to(above, below)


def test_a_tracer_taken_before_records_each_time() -> None:
    """A tracer that a module keeps reaches whoever records at the time, and nobody otherwise."""
    for _ in range(2):
        with RecordedSpans() as spans:
            TRACER.start_span("work").end()
        assert len(spans.finished) == 1
    assert not TRACER.start_span("nobody").is_recording()


def test_only_one_records_at_a_time() -> None:
    """Entering twice, or over an instrumentation in use, is an error that says what to do."""
    with RecordedSpans(), pytest.raises(RuntimeError, match="outer"), RecordedSpans():
        pass
    tracing.instrument()
    try:
        with pytest.raises(RuntimeError, match="uninstrument"), RecordedSpans():
            pass
    finally:
        tracing.uninstrument()
    with RecordedSpans() as spans:
        assert spans.finished == []


def test_waiting_for_spans_of_another_thread() -> None:
    """`wait_for` returns when the condition holds, and fails with the tree when it does not in time."""
    with RecordedSpans() as spans:
        thread = threading.Timer(0.05, lambda: TRACER.start_span("late").end())
        thread.start()
        spans.wait_for(lambda recorded: recorded.named("late"))
        thread.join()
        with pytest.raises(AssertionError, match="late"):
            spans.wait_for(lambda recorded: recorded.named("never"), timeout_s=0.02)
    assert spans.one("late").status.status_code is StatusCode.UNSET
