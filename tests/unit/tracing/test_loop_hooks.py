"""Hooks, suppression and baggage where process spans come from the loop: as documented for every other program."""

import asyncio
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import Span

from tests.support.fed import FedConsumer, fed, traced_record
from tests.support.loops import at_hand, over, settle
from tracing.testing import RecordedSpans, is_child


def with_tenant(number: int) -> FedConsumer:
    """Return a consumer of one record, whose sender has sent baggage."""
    record = traced_record(number)
    record.headers = (*record.headers, ("baggage", b"tenant=t"))
    return FedConsumer(record)


@pytest.mark.parametrize("batch", [False, True], ids=["getone", "getmany"])
async def test_a_consume_hook_has_the_span_of_its_poll(batch: bool) -> None:  # noqa: FBT001 - a parameter
    """It runs before the record is at hand, with its baggage, and after the record before is over."""
    seen: list[tuple[bool, object, int]] = []

    def hook(span: Span, record: Any, *_: object) -> None:
        seen.append((trace.get_current_span() is span, baggage.get_baggage("tenant"), record.offset))

    consumer = with_tenant(2)
    with RecordedSpans(process_spans="loop", consume_hook=hook) as spans:
        if batch:
            for records in (await consumer.getmany()).values():
                for _ in records:
                    assert at_hand() == 2
        else:
            await consumer.getone()
            assert at_hand() == 2
        await consumer.stop()
        assert over(spans) == [2]
        assert not spans.children(spans.one("process orders"))
    assert seen == [(True, "t", 2)]


async def test_a_hook_that_waits_leaves_the_record_at_hand() -> None:
    """The code goes on with its process span while the hook waits, and the poll ends when the hook is done."""
    go_on = asyncio.Event()
    seen: list[object] = []

    async def hook(span: Span, *_: object) -> None:
        await go_on.wait()
        seen.append((trace.get_current_span() is span, baggage.get_baggage("tenant")))

    consumer = with_tenant(1)
    with RecordedSpans(process_spans="loop", consume_hook=hook) as spans:
        await consumer.getone()
        assert at_hand() == 1
        assert [span.name for span in spans.finished] == []
        go_on.set()
        await settle()
        assert [span.name for span in spans.finished] == ["poll orders"]
        assert at_hand() == 1
        await consumer.stop()
        assert over(spans) == [1]
    assert seen == [(True, "t")]


async def test_what_a_hook_starts_is_no_part_of_the_processing() -> None:
    """A span of the hook is a child of the poll, and one of the code a child of the process span."""

    def hook(*_: object) -> None:
        trace.get_tracer("t").start_span("look").end()

    consumer = fed(1, 2)
    with RecordedSpans(process_spans="loop", consume_hook=hook) as spans:
        for _ in range(2):
            await consumer.getone()
            trace.get_tracer("t").start_span("work").end()
        await consumer.stop()
        polls, processes = spans.named("poll orders"), spans.named("process orders")
        assert [is_child(look, poll) for look, poll in zip(spans.named("look"), polls, strict=True)] == [True, True]
        works = spans.named("work")
        assert [is_child(work, process) for work, process in zip(works, processes, strict=True)] == [True, True]


async def test_suppression_in_the_code_of_a_loop_is_the_codes_own() -> None:
    """A block under `suppress_instrumentation` leaves the record at hand, and has no effect after it."""
    consumer = fed(1, 2)
    with RecordedSpans(process_spans="loop", poll_spans=False) as spans:
        await consumer.getone()
        with suppress_instrumentation():
            assert at_hand() == 1
        assert at_hand() == 1
        await consumer.getone()
        assert at_hand() == 2
        await consumer.stop()
        assert over(spans) == [1, 2]


async def test_baggage_is_of_one_record() -> None:
    """In a batch each record's baggage is current with it, and none of it after."""
    plain, tenant = traced_record(1), traced_record(2)
    tenant.headers = (*tenant.headers, ("baggage", b"tenant=t"))
    consumer = FedConsumer(plain, tenant, traced_record(3))
    with RecordedSpans(process_spans="loop", poll_spans=False):
        (records,) = (await consumer.getmany()).values()
        assert [baggage.get_baggage("tenant") for _ in records] == [None, "t", None]
        assert baggage.get_baggage("tenant") is None
        await consumer.stop()
