"""A row of a waterfall knows where its message waited."""

from dataclasses import replace
from math import inf, nan

import pytest

from services.cli.traces.model import Span
from services.cli.traces.tree import Row, rows
from services.cli.traces.waits import Place, Wait
from tests.support.saga_traces import MS, changed, completed, doing


def _row(spans: list[Span], wanted: Span) -> Row:
    return next(row for row in rows(spans) if row.span.span_id == wanted.span_id)


@pytest.mark.parametrize(
    ("operation", "key", "place"),
    [
        ("process", "messaging.kafka.queue.time_ms", Place.KAFKA),
        ("send", "sagatrace.outbox.wait_ms", Place.OUTBOX),
    ],
)
def test_a_recorded_wait_ends_where_the_span_starts(operation: str, key: str, place: Place) -> None:
    """A span that says how long its message waited has that wait before it."""
    spans = completed().spans
    span = doing(spans, operation, "payment.charge")
    row = _row(changed(spans, span, attributes={key: 2.5}), span)
    assert row.wait == Wait(place, 2_500_000)
    assert row.begin - row.wait_begin == pytest.approx(2.5 / len(spans), rel=0.05)


def test_a_process_span_without_its_time_in_the_queue_waited_since_its_send() -> None:
    """Where no attribute says how long a message was in Kafka, the end of the send does."""
    spans = completed().spans
    process = doing(spans, "process", "payment.charge")
    late = replace(process, start_ns=process.start_ns + 7 * MS, end_ns=process.end_ns + 7 * MS)
    row = _row([late if span is process else span for span in spans], late)
    assert row.wait == Wait(Place.KAFKA, 7 * MS)


@pytest.mark.parametrize("value", [0, -5.0, True, "12", None, inf, nan, 1e303, 10**400])
def test_what_is_no_wait_is_not_drawn(value: object) -> None:
    """Zero, a negative time, and what is no number at all are no wait."""
    spans = completed().spans
    send = doing(spans, "send", "payment.charge")
    row = _row(changed(spans, send, attributes={"sagatrace.outbox.wait_ms": value}), send)
    assert (row.wait, row.wait_begin) == (None, row.begin)


def test_no_wait_begins_before_the_trace() -> None:
    """A wait that is longer than the trace, as by a clock that is ahead, is drawn from the trace's beginning."""
    spans = completed().spans
    send = doing(spans, "send", "payment.charge")
    row = _row(changed(spans, send, attributes={"sagatrace.outbox.wait_ms": 1e9}), send)
    assert row.wait_begin == 0
