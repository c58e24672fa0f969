"""Process spans from the loop itself: what begins them, and what they are."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import get_current
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import NonRecordingSpan, StatusCode

import tracing
from tests.support.eventually import eventually
from tests.support.fed import FedConsumer, fed, traced_record
from tests.support.instrumented import attributes
from tests.support.loops import at_hand, over, settle
from tracing import consuming
from tracing.testing import RecordedSpans


@pytest.fixture
def spans(caplog: pytest.LogCaptureFixture) -> Iterator[RecordedSpans]:
    """Every span of a program whose loops begin their process spans; nothing may be logged."""
    with RecordedSpans(process_spans="loop", poll_spans=False) as recorded:
        yield recorded
    assert caplog.records == []


async def test_a_record_is_at_hand_until_the_next_receive(spans: RecordedSpans) -> None:
    """In `async for` each record's process span is current, a child of its sender's, and one after the other ends."""
    consumer = fed(1, 2, 3)
    seen = []
    async for record in consumer:
        seen.append((record.offset, at_hand(), over(spans)))
        if record.offset == 3:
            await consumer.stop()
    assert seen == [(1, 1, []), (2, 2, [1]), (3, 3, [1, 2])]
    assert at_hand() == 0
    assert over(spans) == [1, 2, 3]
    assert [span.parent.span_id for span in spans.finished if span.parent] == [1, 2, 3]


async def test_the_span_is_that_of_process(spans: RecordedSpans) -> None:
    """It has what `tracing.process` gives a span, and the consumer's own group; its error is not known."""
    consumer = fed(1, group="billing")
    with suppress(RuntimeError):
        async for _ in consumer:
            raise RuntimeError
    await consumer.stop()
    span = spans.one("process orders")
    assert attributes(span)["messaging.consumer.group.name"] == "billing"
    assert attributes(span)["messaging.kafka.offset"] == 1
    assert span.status.status_code is StatusCode.UNSET
    assert [link.context.span_id for link in span.links] == [1]


async def test_a_handler_can_mark_its_error(spans: RecordedSpans) -> None:
    """`tracing.fail` finds the span of the loop, and the metric has the error too."""
    consumer = fed(1)
    await consumer.getone()
    tracing.fail(trace.get_current_span(), KeyError())
    await consumer.stop()
    assert spans.one("process orders").status.status_code is StatusCode.ERROR
    (point,) = spans.metric_points("messaging.process.duration")
    assert point.attributes["error.type"] == "KeyError"


async def test_an_explicit_process_takes_over(spans: RecordedSpans) -> None:
    """There is one span, with what the loop knows and what the caller gives, and its error."""
    consumer = fed(1, 2)
    link = trace.Link(trace.SpanContext(9, 9, is_remote=True))
    with suppress(ValueError):
        record = await consumer.getone()
        with tracing.process(record, links=[link], attributes={"a": 1}) as span:
            assert trace.get_current_span() is span
            raise ValueError
    assert at_hand() == 0
    with tracing.process(await consumer.getone(), group="other"):
        assert at_hand() == 2
    assert at_hand() == 0
    await consumer.stop()
    first, second = spans.named("process orders")
    assert [link.context.span_id for link in first.links] == [1, 9]
    assert attributes(first)["a"] == 1
    assert attributes(first)["messaging.consumer.group.name"] == "g"
    assert first.status.status_code is StatusCode.ERROR
    assert attributes(second)["messaging.consumer.group.name"] == "other"
    assert sum(point.count for point in spans.metric_points("messaging.process.duration")) == 2
    assert sum(point.count for point in spans.metric_points("messaging.kafka.queue.time")) == 2


async def test_a_process_inside_a_span_of_the_code_takes_over_too(spans: RecordedSpans) -> None:
    """The code's own span stays current after it, and below that is no span that is over."""
    consumer = fed(1)
    record = await consumer.getone()
    with spans.tracer_provider.get_tracer("t").start_as_current_span("work") as work:
        with tracing.process(record):
            assert at_hand() == 1
        assert trace.get_current_span() is work
    assert isinstance(trace.get_current_span(), NonRecordingSpan)
    assert at_hand() == 1
    await consumer.stop()
    assert at_hand() == 0
    assert over(spans) == [1]


async def test_a_process_after_a_block_around_the_receive_takes_over(spans: RecordedSpans) -> None:
    """There is one span, although the block has taken the record away from what is current."""
    consumer = fed(1)
    with tracing.bind(tenant="t"):
        record = await consumer.getone()
    assert at_hand() == 0
    with tracing.process(record):
        assert at_hand() == 1
    await consumer.stop()
    assert (at_hand(), over(spans)) == (0, [1])


async def test_a_process_in_a_task_of_the_handler_takes_over(spans: RecordedSpans) -> None:
    """While the code waits for the task there is one span; what the code sends afterwards stays in the trace."""
    consumer = fed(1)
    record = await consumer.getone()

    async def handle() -> None:
        with tracing.process(record):
            await settle()

    await asyncio.create_task(handle())
    assert over(spans) == [1]
    assert at_hand() == 1
    assert isinstance(trace.get_current_span(), NonRecordingSpan)
    await consumer.stop()
    assert at_hand() == 0


async def test_a_list_that_is_processed_together_ends_what_a_loop_has_begun(spans: RecordedSpans) -> None:
    """The span of several records has no single one as its parent."""
    consumer = fed(1, 2)
    records = [await consumer.getone(), await consumer.getone()]
    with tracing.process(records) as together:
        assert trace.get_current_span() is together
    assert at_hand() == 0
    assert [len(span.links) for span in spans.named("process orders")] == [1, 1, 2]
    assert spans.named("process orders")[2].parent is None


async def test_a_record_at_hand_for_too_long_is_ended() -> None:
    """After `process_span_limit` the span ends, and nothing is current, in a loop and in a batch."""
    with RecordedSpans(process_spans="loop", poll_spans=False, process_span_limit=0.01) as spans:
        consumer = fed(1, 2, 3)
        await consumer.getone()
        await eventually(lambda: spans.finished)
        assert (at_hand(), over(spans)) == (0, [1])
        for _ in next(iter((await consumer.getmany(max_records=1)).values())):
            await eventually(lambda: len(spans.finished) == 2)
            assert at_hand() == 0
        await consumer.getone()
        assert at_hand() == 3
        await consumer.stop()
    assert over(spans) == [1, 2, 3]


async def test_uninstrumenting_in_the_middle_leaves_nothing_current(caplog: pytest.LogCaptureFixture) -> None:
    """Spans end, contexts are the former ones, and the loops go on untraced."""
    with RecordedSpans(process_spans="loop") as spans:
        consumer = fed(1, 2, 3, 4)
        ((_, batch),) = (await consumer.getmany(max_records=2)).items()
        seen = []
        for _ in batch:
            await consumer.getone()
            seen.append(at_hand())
            tracing.uninstrument()
            seen.append(at_hand())
        assert seen == [3, 0, 0, 0]
        assert get_current() == {}
    assert sorted(over(spans)) == [1, 3]
    await consumer.stop()
    assert caplog.records == []


async def test_suppressed_receives_begin_nothing(spans: RecordedSpans) -> None:
    """Under `suppress_instrumentation` a record is only received, and the one before is over."""
    consumer = fed(1, 2, 3)
    await consumer.getone()
    with suppress_instrumentation():
        await consumer.getone()
        assert at_hand() == 0
        ((_, batch),) = (await consumer.getmany()).items()
        assert [at_hand() for _ in batch] == [0]
    await consumer.stop()
    assert over(spans) == [1]


async def test_topics_that_are_left_out_pass_their_context_on() -> None:
    """Neither a loop nor a batch makes a span for them, and what is sent from it is in the sender's trace."""
    with RecordedSpans(process_spans="loop", exclude_topics=["orders"]) as spans:
        consumer = fed(1, 2)
        await consumer.getone()
        assert (at_hand(), trace.get_current_span().get_span_context().span_id) == (1, 1)
        ((_, batch),) = (await consumer.getmany()).items()
        assert [at_hand() for _ in batch] == [2]
        await consumer.stop()
    assert (at_hand(), spans.finished) == (0, [])


async def test_two_loops_with_the_current_span_as_the_parent_make_no_endless_trace() -> None:
    """With `process_parent="ambient"` a loop's span is no child of what another loop has at hand."""
    with RecordedSpans(process_spans="loop", poll_spans=False, process_parent="ambient") as spans:
        orders, payments = fed(1, 3), fed(2, 4)
        with spans.tracer_provider.get_tracer("t").start_as_current_span("program") as program:
            for consumer in (orders, payments, orders, payments):
                await consumer.getone()
            await orders.stop()
            await payments.stop()
            assert trace.get_current_span() is program
    parents = {span.parent.span_id for span in spans.named("process orders") if span.parent}
    assert parents == {program.get_span_context().span_id}


async def test_the_baggage_of_a_message_is_current_with_it(spans: RecordedSpans) -> None:
    """And it is gone with it."""
    record = traced_record(1)
    record.headers = (*record.headers, ("baggage", b"tenant=t"))
    consumer = FedConsumer(record)
    await consumer.getone()
    assert baggage.get_baggage("tenant") == "t"
    await consumer.stop()
    assert baggage.get_baggage("tenant") is None
    assert over(spans) == [1]


async def test_explicit_spans_leave_the_client_alone() -> None:
    """With `process_spans="explicit"` nothing is current after a receive, and a batch is aiokafka's own list."""
    with RecordedSpans(process_spans="explicit") as spans:
        consumer = fed(1, 2)
        await consumer.getone()
        ((_, batch),) = (await consumer.getmany()).items()
        assert (at_hand(), type(batch)) == (0, list)
        await consumer.stop()
    assert spans.named("process orders") == []


async def test_loops_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without option and variable loops begin spans; the variable decides where the option does not."""
    for variable, option, expected in [("", None, 1), ("explicit", None, 0), ("explicit", "loop", 1)]:
        monkeypatch.setenv("SAGATRACE_PROCESS_SPANS", variable)
        with RecordedSpans(process_spans=option):
            consumer = fed(1)
            await consumer.getone()
            assert at_hand() == expected
            await consumer.stop()


async def test_a_foreign_span_processor_costs_no_record(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What goes wrong while a span begins is logged once, and the record is the caller's."""
    monkeypatch.setattr(consuming, "_worth_a_span", None)

    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    with RecordedSpans(process_spans="loop") as spans:
        monkeypatch.setattr("tracing.spans.Spans.start", fail)
        consumer = fed(1, 2, 3)
        assert (await consumer.getone()).offset == 1
        ((_, batch),) = (await consumer.getmany()).items()
        assert [record.offset for record in batch] == [2, 3]
        await consumer.stop()
    assert spans.finished == []
    assert at_hand() == 0
    assert "secret" not in caplog.text
