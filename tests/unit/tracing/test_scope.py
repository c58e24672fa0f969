"""Blocks in generators that are left somewhere else than they were entered."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, aclosing
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context, attach, get_current, set_value

import tracing
from tests.support.records import record
from tracing.binding import bound, use_context
from tracing.identity import known_as, take
from tracing.testing import RecordedSpans

Enter = Callable[[int], AbstractContextManager[object]]

_STORED = trace.set_span_in_context(trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=True)), Context())

BLOCKS: dict[str, list[Enter]] = {
    "process": [lambda n: tracing.process(record(topic="orders", offset=n), group="g")],
    "bind": [lambda n: tracing.bind(**{"order.id": f"o-{n}"})],
    "use_context": [lambda _: use_context(_STORED)],
    "known_as": [lambda n: known_as("fact", str(n))],
}
BLOCKS["all"] = [enter for blocks in list(BLOCKS.values()) for enter in blocks]
BLOCKS["twice"] = [*BLOCKS["process"], *BLOCKS["bind"], *BLOCKS["bind"], *BLOCKS["process"]]


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    """Every span of the test."""
    with RecordedSpans(instrumented=False) as recorded:
        yield recorded


@pytest.fixture(params=BLOCKS)
def blocks(request: pytest.FixtureRequest) -> list[Enter]:
    """The blocks in the generator."""
    return BLOCKS[request.param]


async def _handed_out(blocks: list[Enter]) -> AsyncIterator[int]:
    for number in range(3):
        with ExitStack() as stack:
            for enter in blocks:
                stack.enter_context(enter(number))
            yield number


def _one(blocks: list[Enter]) -> Iterator[int]:
    with ExitStack() as stack:
        for enter in blocks:
            stack.enter_context(enter(0))
        yield 0


def _assert_only(span: trace.Span) -> None:
    """Nothing is current but this span."""
    assert trace.get_current_span() is span
    assert get_current() == trace.set_span_in_context(span, Context())
    assert bound() == {}
    assert take() is None


async def test_a_loop_that_is_left_leaves_nothing_current(
    spans: RecordedSpans, blocks: list[Enter], caplog: pytest.LogCaptureFixture
) -> None:
    """After `break`, once the generator was closed, the caller's span is current, all others have ended, and no log."""
    with spans.tracer_provider.get_tracer("test").start_as_current_span("request") as request:
        async for number in _handed_out(blocks):
            if number == 1:
                break
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        _assert_only(request)
    processes = 2 * sum(enter in BLOCKS["process"] for enter in blocks)
    assert sorted(span.name for span in spans.finished) == [*["process orders"] * processes, "request"]
    assert caplog.records == []


async def test_a_generator_that_another_task_closes_leaves_nothing_current(
    spans: RecordedSpans, blocks: list[Enter], caplog: pytest.LogCaptureFixture
) -> None:
    """A generator that is closed in a task of its own, after further spans, leaves the caller's span current."""
    with spans.tracer_provider.get_tracer("test").start_as_current_span("request") as request:
        generator: Any = _handed_out(blocks)
        await anext(generator)
        await asyncio.create_task(generator.aclose())
        _assert_only(request)
    assert caplog.records == []


async def test_a_generator_that_is_closed_late_leaves_the_later_span_current(
    spans: RecordedSpans, blocks: list[Enter], caplog: pytest.LogCaptureFixture
) -> None:
    """A span that was made current since then stays so, and what is over does not come back when it ends."""
    tracer = spans.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("request") as request:
        generator = _one(blocks)
        next(generator)
        with tracer.start_as_current_span("later") as later:
            generator.close()  # type: ignore[attr-defined]
            assert trace.get_current_span() is later
        _assert_only(request)
    assert caplog.records == []


async def test_a_generator_that_is_closed_in_time_restores_what_was_there(
    spans: RecordedSpans, blocks: list[Enter]
) -> None:
    """`aclosing` leaves the block where it was entered, and the former context object is back."""
    with spans.tracer_provider.get_tracer("test").start_as_current_span("request"):
        before = get_current()
        async with aclosing(_handed_out(blocks)) as generator:  # type: ignore[type-var]
            async for _ in generator:
                break
        assert get_current() is before


def test_a_handler_that_leaves_a_context_behind_does_not_leave_it_to_the_next(spans: RecordedSpans) -> None:
    """What a handler attached and did not detach is gone after the block."""
    before = get_current()
    with tracing.process(record(topic="orders")):
        attach(set_value("left", 1))
    assert get_current() is before
    assert [span.name for span in spans.finished] == ["process orders"]


def test_a_context_that_was_used_is_still_its_owner_s() -> None:
    """A stored context that was left from elsewhere is not changed."""
    stored = dict(_STORED)
    generator = _one(BLOCKS["use_context"])
    next(generator)
    with tracing.bind(a="1"):
        generator.close()  # type: ignore[attr-defined]
    assert dict(_STORED) == stored
    assert not trace.get_current_span().get_span_context().is_valid
