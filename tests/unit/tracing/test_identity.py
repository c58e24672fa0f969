"""A span's id can follow from what the span shows, so that whoever writes it writes the same one."""

import asyncio

import pytest
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import Link, Span, SpanContext, SpanKind

import tracing
from tests.support.records import record
from tracing.identity import known_as
from tracing.provider import FactIdGenerator
from tracing.spans import Spans
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


async def test_what_is_started_inside_the_span_has_an_id_of_its_own() -> None:
    """Children, later spans and those of a task that outlives the block have ids of their own, and no own parent."""
    begin = asyncio.Event()
    with RecordedSpans(instrumented=False) as recorded:
        tracer = recorded.tracer_provider.get_tracer("test")

        async def background() -> None:
            await begin.wait()
            tracer.start_span("background").end()

        with known_as("saga-1", "life"):
            with tracer.start_as_current_span("life"):
                task = asyncio.create_task(background())
                tracer.start_span("child").end()
                with tracing.process(record(), group="g"):
                    pass
            tracer.start_span("later").end()
        begin.set()
        await task
        with known_as("saga-1", "life"):
            again = tracer.start_span("life")
            again.end()
    ids = [span.context.span_id for span in recorded.finished if span.context]
    assert len(ids) == 6
    assert len(set(ids)) == 5
    assert _ids(again) == [span.context.span_id for span in recorded.named("life")[:1] if span.context]
    assert not [span.name for span in recorded.finished if span.parent and span.parent.span_id == span.context.span_id]


def test_an_inner_fact_does_not_use_up_the_outer_one() -> None:
    """Each of two nested facts is the id of one span."""
    with RecordedSpans(instrumented=False) as recorded:
        tracer = recorded.tracer_provider.get_tracer("test")
        with known_as("a"):
            with known_as("b"):
                inner = tracer.start_span("inner")
            outer = tracer.start_span("outer")
        with known_as("a"):
            again = tracer.start_span("outer")
    assert _ids(outer) == _ids(again) != _ids(inner)


@pytest.mark.parametrize("links", [0, 3])
def test_a_span_that_is_not_lean_has_the_id_too(links: int) -> None:
    """The id is not lost where the official tracer starts the span, here because of too many links."""
    spans = Spans(TracerProvider(span_limits=SpanLimits(max_links=2), id_generator=FactIdGenerator()))
    many = [Link(SpanContext(1, number, is_remote=True)) for number in range(1, links + 1)]
    found = []
    for _ in range(2):
        with known_as("fact"):
            found.append(spans.start("x", None, SpanKind.CLIENT, {}, many))
    first, second = _ids(*found)
    assert first == second
