"""The consumer against a broker: what is handled, what is committed, and what is kept."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from services.contracts import Message
from services.contracts.topics import PARTITIONS, dead_letter_topic
from services.messaging import Consumer, Producer
from services.messaging.errors import Unavailable
from services.messaging.readiness import Readiness
from services.messaging.settings import ConsumerSettings
from tests.integration.messaging.conftest import HASTY, QUICK, Committed, ReadTopic
from tests.support.broker import Broker, create_topics
from tests.support.eventually import eventually
from tests.support.records import message
from tests.support.spans import attributes_of
from tracing.testing import RecordedSpans, is_child, links_to

POISON = [b"\xff\xfe", b"{", b'{"event_type": "saga.started"}', b'{"event_type": "saga.paused"}']


@pytest.fixture
def group(broker: Broker, topic: str) -> str:
    """A group that no other test uses, with a dead-letter topic."""
    create_topics(broker, dead_letter_topic(topic))
    return topic


def quick(broker: Broker, **changes: float) -> ConsumerSettings:
    """Settings that hurry, also where a group is joined again: the embedded broker then waits a whole session."""
    return QUICK.model_copy(update={"session_timeout": 4.0 if broker.is_embedded else 10.0, **changes})


async def send(producer: Producer, topic: str, *orders: str) -> list[Message]:
    """Send a message for each order, numbered in the order of sending."""
    sent = [message(order, sequence) for sequence, order in enumerate(orders)]
    for each in sent:
        await producer.publish_event(topic, each.order_id, each)
    return sent


class Seen:
    """A handler that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, seen: Message) -> None:
        """Handle one message."""
        self.messages.append(seen)


@pytest.mark.brokers("embedded")
async def test_the_first_guides_example_works(broker: Broker, topic: str) -> None:
    """A producer publishes an event, a started consumer has joined, and its handler gets the parsed event."""
    got: asyncio.Queue[Message] = asyncio.Queue()

    async with Producer(broker) as producer:
        consumer = Consumer(broker, f"{topic}-group", [topic], got.put)
        await consumer.start()
        event = message("o-1")
        await producer.publish_event(topic, "o-1", event)
        assert await asyncio.wait_for(got.get(), 200) == event
        await consumer.stop()


async def test_poison_between_good_messages(  # noqa: PLR0913, PLR0917  its fixtures
    broker: Broker,
    producer: Producer,
    topic: str,
    group: str,
    read_topic: ReadTopic,
    committed: Committed,
    spans: RecordedSpans,
) -> None:
    """Good messages around poison are handled in order; the poison is kept whole, in its trace; all is committed."""
    seen = Seen()
    first = await send(producer, topic, "o-1")
    for value in POISON:
        await producer.publish(topic, key=b"o-1", value=value, headers=[("kept", b"\x00")])
    second = await send(producer, topic, "o-1")
    async with Consumer(broker, group, [topic], seen, settings=QUICK, producer=producer):
        await eventually(lambda: len(seen.messages) == 2, timeout_s=20)
    assert seen.messages == [*first, *second]

    letters = await read_topic(dead_letter_topic(group), len(POISON))
    assert [(letter.key, letter.value) for letter in letters] == [(b"o-1", value) for value in POISON]
    assert all(dict(letter.headers)["kept"] == b"\x00" for letter in letters)
    assert [offset for offset in await committed(group, topic) if offset is not None] == [2 + len(POISON)]

    buried = sorted(_on(spans, dead_letter_topic(group), "send"), key=lambda span: span.start_time or 0)
    failed = [span for span in _on(spans, topic, "process") if span.status.status_code is StatusCode.ERROR]
    sent = spans.named(f"send {topic}")
    assert len(buried) == len(failed) == len(sent) == len(POISON)
    # A type that the contract knows names the spans, and what is wrong is told by field and rule.
    unnamed = ("Undecodable: the value is not a JSON object in UTF-8", topic)
    missing = "Invalid: saga_id: missing; order_id: missing; sequence: missing"
    unknown = ("UnknownType: the message's event_type is not known here", topic)
    told = [(span.status.description, span.name.removeprefix("process ")) for span in failed]
    assert told == [unnamed, unnamed, (missing, "saga.started"), unknown]
    dead = dead_letter_topic(group)
    assert [span.name for span in buried] == [f"send {name}" for name in (dead, dead, "saga.started", dead)]
    for origin, process, burial, letter in zip(sent, failed, buried, letters, strict=True):
        assert is_child(process, origin)
        assert links_to(process, origin)
        assert is_child(burial, process)
        headers = dict(letter.headers)
        assert headers["traceparent"].split(b"-")[2] == f"{span_id(burial):016x}".encode()
        assert headers["sagatrace-dlq-original-traceparent"].split(b"-")[2] == f"{span_id(origin):016x}".encode()
        assert headers["sagatrace-dlq-failed-span"].split(b"-")[2] == f"{span_id(process):016x}".encode()


def _on(spans: RecordedSpans, topic: str, operation: str) -> list[ReadableSpan]:
    """Return the spans of an operation on a topic, whatever their names."""
    wanted = {"messaging.destination.name": topic, "messaging.operation.name": operation}.items()
    return [span for span in spans.finished if wanted <= attributes_of(span).items()]


def span_id(span: ReadableSpan) -> int:
    """Return a span's id."""
    return int(span.context.span_id)


async def test_a_handlers_sends_continue_the_trace(
    broker: Broker,
    producer: Producer,
    topic: str,
    spans: RecordedSpans,
) -> None:
    """What a handler sends is a child of its process span, with the message's ids, and so are the spans it starts."""

    async def handle(got: Message) -> None:
        if got.sequence == 0:
            with trace.get_tracer("handler").start_as_current_span("work"):
                await producer.publish_event(topic, "o-1", message("o-1", 1))

    with spans.tracer_provider.get_tracer("test").start_as_current_span("starting"):
        consumer = Consumer(broker, topic, [topic], handle, settings=QUICK, producer=producer)
        await consumer.start()
    await send(producer, topic, "o-1")
    await eventually(lambda: len(spans.named("process saga.started")) == 2, timeout_s=20)
    await consumer.stop()
    first, second = spans.named("process saga.started")
    work = spans.one("work")
    (sent,) = spans.children(work)
    assert is_child(work, first)
    assert is_child(second, sent)
    assert {attributes_of(span)["order.id"] for span in (first, work, sent, second)} == {"o-1"}
    assert [len(span.links) for span in (first, second)] == [1, 1]


async def test_a_stop_finishes_what_has_begun_and_leaves_the_rest(
    broker: Broker,
    producer: Producer,
    topic: str,
    committed: Committed,
) -> None:
    """A stop waits, within its budget, for the handler that has begun, and the next consumer begins right after it."""
    begun, may_go_on = asyncio.Event(), asyncio.Semaphore(0)
    done: list[int] = []

    async def slowly(got: Message) -> None:
        begun.set()
        await may_go_on.acquire()
        done.append(got.sequence)

    await send(producer, topic, *["o-1"] * 5)
    settings = quick(broker, drain=1.0)
    consumer = Consumer(broker, topic, [topic], slowly, settings=settings, producer=producer)
    await consumer.start()
    await asyncio.wait_for(begun.wait(), 200)
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.sleep(0)
    may_go_on.release()
    await asyncio.wait_for(stopping, 200)
    assert done == [0]
    assert [offset for offset in await committed(topic, topic) if offset is not None] == [1]

    seen = Seen()
    async with Consumer(broker, topic, [topic], seen, settings=QUICK, producer=producer):
        await eventually(lambda: len(seen.messages) == 4, timeout_s=20)
    assert [got.sequence for got in seen.messages] == [1, 2, 3, 4]


@pytest.mark.brokers("embedded")
async def test_keys_keep_their_order_while_others_pass(broker: Broker, producer: Producer, topic: str) -> None:
    """With several records of a partition at a time, those of one key never overtake each other nor overlap."""
    orders = [f"o-{number}" for number in range(12)] * 5
    seen: defaultdict[str, list[int]] = defaultdict(list)
    now: set[str] = set()
    most = 0

    async def handle(got: Message) -> None:
        nonlocal most
        assert got.order_id not in now
        now.add(got.order_id)
        most = max(most, len(now))
        await asyncio.sleep(0.001 * (got.event_id.int % 5))
        now.remove(got.order_id)
        seen[got.order_id].append(got.sequence)

    sent = await send(producer, topic, *orders)
    settings = QUICK.model_copy(update={"max_concurrency": 8})
    async with Consumer(broker, topic, [topic], handle, settings=settings, producer=producer):
        await eventually(lambda: sum(map(len, seen.values())) == len(sent), timeout_s=30)
    assert all(sequences == sorted(sequences) for sequences in seen.values())
    assert most > PARTITIONS


async def test_a_dead_letter_that_cannot_be_written_holds_only_its_partition(  # noqa: PLR0913, PLR0917  its fixtures
    broker: Broker,
    producer: Producer,
    topic: str,
    group: str,
    read_topic: ReadTopic,
    committed: Committed,
) -> None:
    """While the dead letters can't be written nothing of that partition is committed; others go on; later it comes."""
    seen, readiness = Seen(), Readiness()
    held = await producer.publish(topic, key=b"o-1", value=b"{")
    others = [f"o-{number}" for number in range(20)]
    await send(producer, topic, *others)
    nowhere = Producer("127.0.0.1:1", settings=HASTY)
    settings = quick(broker, drain=0.3)
    consumer = Consumer(broker, group, [topic], seen, settings=settings, producer=nowhere, readiness=readiness)
    await consumer.start()
    await eventually(lambda: "KAFKA_BOOTSTRAP_SERVERS" in str(readiness.reasons()), timeout_s=20)
    elsewhere = await eventually(lambda: len(seen.messages) > 0 and len(seen.messages), timeout_s=20)
    await consumer.stop()
    await nowhere.stop()
    assert elsewhere < len(others)
    offsets = await committed(group, topic)
    assert offsets[held.partition] in {None, 0}
    assert any(offset for number, offset in enumerate(offsets) if number != held.partition)

    async with Consumer(broker, group, [topic], seen, settings=QUICK, producer=producer):
        await eventually(lambda: {got.order_id for got in seen.messages} == set(others), timeout_s=20)
    (letter,) = await read_topic(dead_letter_topic(group), 1)
    assert letter.value == b"{"


@pytest.mark.brokers("embedded")
async def test_work_in_flight_is_bounded(
    broker: Broker,
    producer: Producer,
    topic: str,
    spans: RecordedSpans,
) -> None:
    """A handler that does not get on has at most a poll more than the limit waiting; all are handled in the end."""
    gate = asyncio.Event()
    seen = Seen()

    async def wait(got: Message) -> None:
        await gate.wait()
        await seen(got)

    def polled() -> int:
        return sum(int(attributes_of(span)["messaging.batch.message_count"]) for span in spans.named(f"poll {topic}"))

    await send(producer, topic, *["o-1"] * 60)
    settings = QUICK.model_copy(update={"max_in_flight": 10, "max_poll_records": 5})
    async with Consumer(broker, topic, [topic], wait, settings=settings, producer=producer):
        await eventually(lambda: polled() >= 10, timeout_s=20)
        with pytest.raises(AssertionError, match="still False"):
            await eventually(lambda: polled() > 15, timeout_s=0.5)
        gate.set()
        await eventually(lambda: len(seen.messages) == 60, timeout_s=20)
    assert [got.sequence for got in seen.messages] == list(range(60))


async def test_it_is_known_up_to_when_everything_is_processed(
    broker: Broker,
    producer: Producer,
    topic: str,
) -> None:
    """Every partition, also an empty one, is caught up to a moment; one with work in hand is not, past that work."""
    gate = asyncio.Event()
    gate.set()

    async def handle(_: Message) -> None:
        await gate.wait()

    async with Consumer(broker, topic, [topic], handle, settings=QUICK, producer=producer) as consumer:
        await send(producer, topic, "o-1")
        began = datetime.now(UTC)
        await eventually(lambda: len(consumer.caught_up()) == PARTITIONS, timeout_s=20)
        await eventually(lambda: min(consumer.caught_up().values()) > began, timeout_s=20)
        gate.clear()
        where = await producer.publish_event(topic, "o-1", message("o-1"))
        sent = datetime.now(UTC)
        others = {(topic, number) for number in range(PARTITIONS)} - {(topic, where.partition)}
        await eventually(lambda: all(consumer.caught_up()[each] > sent for each in others), timeout_s=20)
        assert consumer.caught_up()[topic, where.partition] < sent
        gate.set()
        await eventually(lambda: consumer.caught_up()[topic, where.partition] > sent, timeout_s=20)


@pytest.mark.brokers("kafka", "kafka35")
async def test_the_partitions_of_a_topic_are_those_that_the_broker_has(broker: Broker, producer: Producer) -> None:
    """A topic that somebody else made with one partition has one; a topic that is not there has none."""
    name = f"one-{uuid4().hex}"
    await asyncio.to_thread(create_topics, broker, name, partitions=1)
    consumer = Consumer(broker, name, [name], Seen(), settings=QUICK, producer=producer)
    assert set(consumer.partitions(name)) == set()
    async with consumer:
        assert set(consumer.partitions(name)) == {0}
        assert set(consumer.partitions(f"{name}.retry")) == set()


async def test_no_broker_is_told_in_time() -> None:
    """A consumer that finds no broker says so, names group and setting, and can be stopped."""
    consumer = Consumer("127.0.0.1:1", "a-group", ["t"], Seen(), settings=QUICK)
    with pytest.raises(Unavailable, match=r"a-group.*KAFKA_BOOTSTRAP_SERVERS=127\.0\.0\.1:1"):
        await asyncio.wait_for(consumer.start(), 200)
    await asyncio.wait_for(consumer.stop(), 100)
