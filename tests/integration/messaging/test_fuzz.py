"""A broken, hostile or merely strange peer: generated headers and bodies through extract, codec and the consume loop.

`SAGATRACE_FUZZ` says how many; if it is not set, 10,000, and 50,000 in a thorough run. Each input follows from its
number, which a failure tells.
"""

import asyncio
import gc
import logging
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.context import Context

import tracing
from services.contracts import ContractError, Message, encode, parse_message
from services.messaging import Consumer, Producer
from services.messaging.settings import ConsumerSettings
from tests.runs.sizes import size
from tests.support.broker import Broker
from tests.support.ladder import delivery
from tests.support.records import DeadLetterTopic, Header, message, record
from tests.support.strange import Strange

SIZE = size(10_000, 50_000, "SAGATRACE_FUZZ")
# Over a broker, a twenty and a good one at a time. So many may be on their way: the embedded broker keeps 5 MB.
SENT = min(SIZE // 25, 40_000)
ON_THEIR_WAY = 100
# How many records the memory is measured over, and what may stay of each in bytes: caches of a bounded size still fill.
MEASURED = 2000
# More trace contexts than are remembered, and than it takes until their table is made anew.
REMEMBERED = 10_000
FLAT_BYTES = 200


class Forgetful(DeadLetterTopic):
    """A dead-letter topic that only counts."""

    count = 0

    async def publish(self, topic: str, **_: object) -> object:
        """Count one record."""
        self.count += 1
        # A turn of the event loop, which is when it forgets the timers that were cancelled.
        await asyncio.sleep(0)
        return topic


def parent(number: int) -> Header:
    """A trace context that is right, and another one for each number."""
    return "traceparent", b"00-%032x-%016x-01" % (number + 1, number + 1)


@pytest.mark.timeout(60 + SIZE // 500)
def test_headers_and_bodies_raise_nothing_but_what_the_contract_says() -> None:
    """`extract` and `inject` take any headers, and the codec any body: a message, or a ContractError.

    Whatever stands beside it, a good `traceparent` behind the others is found.
    """
    for number in range(SIZE):
        strange = Strange(number)
        headers, body = strange.headers(), strange.body()
        context = tracing.extract(headers)
        assert isinstance(context, Context), number
        assert isinstance(tracing.inject(headers, context), list), number
        found = trace.get_current_span(tracing.extract([*headers, parent(number)])).get_span_context()
        assert found.trace_id == number + 1, number
        with suppress(ContractError):
            assert isinstance(parse_message(body), Message), number


@pytest.fixture
def silence() -> Iterator[None]:
    """No log: pytest keeps what is written, a line for each dead letter."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("silence")
@pytest.mark.timeout(120 + SIZE // 50)
async def test_every_record_is_done_with_and_memory_stays_flat() -> None:
    """Each strange record is handled or a dead letter, each good one between them is handled, and nothing is kept.

    Each has a trace context that nobody has seen before, so that a memory of contexts without a bound is noticed.
    """
    handled = good = 0

    async def handler(event: Message) -> None:
        nonlocal handled, good
        handled += 1
        good += event.order_id.startswith("good-")

    dead_letters = Forgetful()
    loop = delivery(handler, dead_letters)

    async def deliver(numbers: range) -> None:
        for number in numbers:
            strange = Strange(number)
            headers = [parent(SIZE + number), *strange.headers()]
            await loop.deliver(record(strange.body() or b"", headers=headers, offset=number))
            if number % 10 == 0:
                await loop.deliver(record(encode(message(order=f"good-{number}")), offset=number))

    # Only the end is measured, which takes ten times as long; until then every cache is as full as it gets.
    await deliver(range(SIZE - MEASURED))
    tracemalloc.start()
    try:
        # What was kept before is not seen to go: the memory of contexts begins anew with what is seen.
        for number in range(2 * SIZE, 2 * SIZE + REMEMBERED):
            tracing.extract([parent(number)])
        await deliver(range(SIZE - MEASURED, SIZE - MEASURED // 2))
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await deliver(range(SIZE - MEASURED // 2, SIZE))
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    goods = len(range(0, SIZE, 10))
    assert good == goods
    # Every record is one or the other, but events of a type that nobody knows: those are skipped.
    assert SIZE // 2 < dead_letters.count <= SIZE
    assert handled + dead_letters.count <= SIZE + goods
    assert grown < FLAT_BYTES * MEASURED // 2, grown


@pytest.mark.timeout(120 + SENT // 20)
@pytest.mark.brokers("embedded", "kafka")
async def test_good_messages_come_through_between_strange_ones(broker: Broker, topic: str) -> None:
    """Over a real broker, every good message behind any strange record of its partition is handled, in order."""
    got: list[int] = []
    goods = list(range(0, SENT, 20))
    room = asyncio.Semaphore(ON_THEIR_WAY)

    async def handler(event: Message) -> None:
        if event.order_id == "good":
            got.append(event.sequence)
            room.release()

    calm = ConsumerSettings(breaker_in_a_row=1_000_000, breaker_window=1_000_000, breaker_ratio=1.0)
    async with (
        Producer(broker) as producer,
        Consumer(broker, topic, [topic], handler, settings=calm),
        asyncio.timeout(60 + SENT / 50),
    ):
        for first in goods:
            await room.acquire()
            strange = (_send(producer, topic, number) for number in range(first, min(first + 20, SENT)))
            await asyncio.gather(*strange)
            await producer.publish_event(topic, "good", message(order="good", sequence=first))
        for _ in range(ON_THEIR_WAY):
            await room.acquire()
    assert got == goods


async def _send(producer: Producer, topic: str, number: int) -> None:
    strange = Strange(number)
    await producer.publish(topic, key=b"good", value=strange.body(), headers=strange.headers())
