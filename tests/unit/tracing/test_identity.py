"""A span's id can follow from what the span shows, so that whoever writes it writes the same one."""

from opentelemetry.trace import Span

from tracing.identity import known_as
from tracing.testing import RecordedSpans


def _ids(*spans: Span) -> list[int]:
    return [span.get_span_context().span_id for span in spans]


def test_the_same_fact_is_the_same_span() -> None:
    """Two spans of one fact have one id, and those of another fact, or of none, have others."""
    with RecordedSpans(instrumented=False) as recorded:
        tracer = recorded.tracer_provider.get_tracer("test")
        with known_as("saga-1", "life"):
            first = tracer.start_span("life")
        with known_as("saga-1", "life"):
            second = tracer.start_span("life")
        with known_as("saga-1l", "ife"):
            other = tracer.start_span("life")
        first_id, second_id, other_id, *random = _ids(
            first, second, other, tracer.start_span("x"), tracer.start_span("x")
        )
    assert first_id == second_id
    assert len({first_id, other_id, *random}) == 4
    assert 0 not in {first_id, other_id}
