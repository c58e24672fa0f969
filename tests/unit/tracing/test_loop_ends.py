"""Loops in tasks, generators, timeouts and blocks: what ends their process spans, and what is current then."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from opentelemetry import baggage, trace
from opentelemetry.context import attach
from opentelemetry.trace import NonRecordingSpan

import tracing
from tests.support.eventually import eventually
from tests.support.fed import FedConsumer, fed
from tests.support.loops import at_hand, over, settle
from tracing.testing import RecordedSpans


@pytest.fixture
def spans(caplog: pytest.LogCaptureFixture) -> Iterator[RecordedSpans]:
    """Every span of a program whose loops begin their process spans; nothing may be logged."""
    with RecordedSpans(process_spans="loop", poll_spans=False) as recorded:
        yield recorded
    assert caplog.records == []


async def test_a_timeout_around_a_receive_changes_nothing(spans: RecordedSpans) -> None:
    """With `asyncio.wait_for`, in a task of its own or not, and `asyncio.timeout`, the record is the caller's."""
    consumer = fed(1, 2, 3, 4)
    seen = []
    for _ in range(2):
        record = await asyncio.wait_for(consumer.getone(), 60)
        seen.append((record.offset, at_hand(), over(spans)))
        async with asyncio.timeout(60):
            record = await consumer.getone()
        seen.append((record.offset, at_hand(), over(spans)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(consumer.getone(), 0.001)
    assert seen == [(1, 1, []), (2, 2, [1]), (3, 3, [1, 2]), (4, 4, [1, 2, 3])]
    assert (at_hand(), over(spans)) == (0, [1, 2, 3, 4])
    await consumer.stop()


async def test_a_timeout_around_code_that_receives_changes_nothing(spans: RecordedSpans) -> None:
    """What a coroutine under `wait_for` has received is at hand in it, and then in who waited."""
    consumer = fed(1, 2)

    async def fetch() -> int:
        await consumer.getone()
        await settle()
        return at_hand()

    for number in (1, 2):
        assert await asyncio.wait_for(asyncio.wait_for(fetch(), 60), 60) == number
        assert at_hand() == number
    assert over(spans) == [1]
    await consumer.stop()
    assert (at_hand(), over(spans)) == (0, [1, 2])


async def test_a_receive_that_is_a_task_begins_nothing(spans: RecordedSpans) -> None:
    """A record that is prefetched does not take the place of the one at hand, and `process` makes its only span."""
    consumer = fed(1, 2)
    await consumer.getone()
    ahead = asyncio.create_task(consumer.getone())
    await settle()
    assert at_hand() == 1
    with tracing.process(await ahead):
        assert at_hand() == 2
    await consumer.stop()
    assert over(spans) == [1, 2]


async def test_tasks_of_the_code_stay_in_its_trace(spans: RecordedSpans) -> None:
    """A task that was started for a record belongs to it, however long it takes."""
    consumer = fed(1, 2)
    go_on = asyncio.Event()

    async def background() -> int:
        await go_on.wait()
        return at_hand()

    tasks = []
    for _ in range(2):
        await consumer.getone()
        tasks.append(asyncio.create_task(background()))
    await consumer.stop()
    go_on.set()
    assert await asyncio.gather(*tasks) == [1, 2]
    assert over(spans) == [1, 2]


async def test_a_task_that_ends_ends_its_record(spans: RecordedSpans) -> None:
    """By its return, an error or a cancellation."""
    consumer = fed(1, 2, 3)
    waiting = asyncio.Event()

    async def read(outcome: str) -> None:
        await consumer.getone()
        if outcome == "raise":
            raise ValueError
        if outcome == "wait":
            await waiting.wait()

    tasks = [asyncio.create_task(read(outcome)) for outcome in ("return", "raise", "wait")]
    await settle()
    assert over(spans) == [1, 2]
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await settle()
    assert over(spans) == [1, 2, 3]
    await consumer.stop()


async def test_tasks_that_share_a_consumer_have_a_record_each(spans: RecordedSpans) -> None:
    """One worker's receive does not end another's processing."""
    consumer = fed(1, 2)
    handled: list[int] = []

    async def work() -> None:
        async for record in consumer:
            await settle()
            assert at_hand() == record.offset
            handled.append(at_hand())

    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(work())
        await eventually(lambda: len(handled) == 2)
        await consumer.stop()
    assert sorted(handled) == over(spans) == [1, 2]


async def test_two_consumers_in_one_task_end_their_own(spans: RecordedSpans) -> None:
    """Each record is current after its receive, and neither is the other's parent or link."""
    orders, payments = fed(1, 3), fed(2, 4)
    seen = []
    for _ in range(2):
        for consumer in (orders, payments):
            await consumer.getone()
            seen.append((at_hand(), over(spans)))
    assert seen == [(1, []), (2, []), (3, [1]), (4, [1, 2])]
    await orders.stop()
    assert (at_hand(), over(spans)) == (4, [1, 2, 3])
    await payments.stop()
    assert (at_hand(), over(spans)) == (0, [1, 2, 3, 4])
    assert all(len(span.links) == 1 for span in spans.finished)


async def test_a_loop_in_a_handler_gives_the_outer_record_back(spans: RecordedSpans) -> None:
    """After the inner consumer has stopped the outer record is current again."""
    outer = fed(1)
    async for _ in outer:
        async with _started(fed(2)) as inner:
            async for _ in inner:
                assert at_hand() == 2
                break
        assert at_hand() == 1
        await outer.stop()
    assert (at_hand(), over(spans)) == (0, [1, 2])


class _started:  # noqa: N801 - used like a function
    """Enters a consumer that needs no start, and stops it."""

    def __init__(self, consumer: FedConsumer) -> None:
        self._consumer = consumer

    async def __aenter__(self) -> FedConsumer:
        return self._consumer

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()


async def test_a_stop_from_elsewhere_leaves_the_code_in_its_trace(spans: RecordedSpans) -> None:
    """The span ends, what is current is no span that is over, and what the code still sends belongs to the trace."""
    consumer = fed(1)
    stopped = asyncio.Event()
    seen = []

    async def read() -> None:
        async for _ in consumer:
            await stopped.wait()
            seen.append((at_hand(), type(trace.get_current_span())))
        seen.append((at_hand(), NonRecordingSpan))

    task = asyncio.create_task(read())
    await settle()
    await consumer.stop()
    assert over(spans) == [1]
    stopped.set()
    await task
    assert seen == [(1, NonRecordingSpan), (0, NonRecordingSpan)]


async def test_a_generator_that_receives_may_be_left(spans: RecordedSpans) -> None:
    """Its consumer's stop, in whatever task closes the generator, ends the span; nothing over stays current."""
    consumer = fed(1, 2)

    async def values() -> AsyncIterator[bytes]:
        try:
            async for record in consumer:
                yield record.value
        finally:
            await consumer.stop()

    generator: Any = values()
    assert await anext(generator) == b"1"
    assert at_hand() == 1
    await asyncio.create_task(generator.aclose())
    assert over(spans) == [1]
    assert not trace.get_current_span().is_recording()


async def test_what_the_code_left_attached_keeps_nothing_of_the_record(spans: RecordedSpans) -> None:
    """A context that was attached and not detached stays, without the span and the baggage of a record that is over."""
    consumer = fed(1, 2)
    await consumer.getone()
    attach(baggage.set_baggage("user", "u"))
    await consumer.getone()
    assert (at_hand(), baggage.get_baggage("user")) == (2, "u")
    await consumer.stop()
    assert (at_hand(), baggage.get_baggage("user")) == (0, "u")
    assert over(spans) == [1, 2]


async def test_a_block_around_the_next_receive_stays_open(spans: RecordedSpans) -> None:
    """A span of the code that was opened for one record is current until it ends, and nothing is current below it."""
    consumer = fed(1, 2)
    await consumer.getone()
    with spans.tracer_provider.get_tracer("t").start_as_current_span("work") as work:
        await consumer.getone()
        assert at_hand() == 2
        await consumer.stop()
        assert trace.get_current_span() is work
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert over(spans) == [1, 2]


async def test_a_consumer_that_is_gone_ends_its_record(spans: RecordedSpans) -> None:
    """What is at hand does not keep a consumer, and its end is the record's."""
    consumer: FedConsumer | None = fed(1)
    assert consumer is not None
    await consumer.getone()
    await AIOKafkaConsumer.stop.__wrapped__(consumer)  # type: ignore[attr-defined]  # unseen by tracing
    consumer = None
    gc.collect()
    assert (at_hand(), over(spans)) == (0, [1])


def test_threads_with_loops_of_their_own_have_their_own_records(spans: RecordedSpans) -> None:
    """Each thread sees what its consumer hands out, and leaves nothing behind."""
    seen: list[list[int]] = []

    async def read(number: int) -> None:
        consumer = fed(*range(number, number + 50))
        found = []
        for _ in range(50):
            await consumer.getone()
            await asyncio.sleep(0)
            found.append(at_hand())
        await consumer.stop()
        seen.append([*found, at_hand()])

    threads = [threading.Thread(target=lambda n=number: asyncio.run(read(n))) for number in (100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [[*range(number, number + 50), 0] for number in (100, 200, 300)]
    assert sorted(over(spans)) == sorted(n for number in (100, 200, 300) for n in range(number, number + 50))
