"""A consumer whose broker errs, falls silent and goes away, whose group rebalances, and who is stopped at any time."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

import tracing
from services.contracts import Message
from services.messaging import Consumer, Producer
from services.messaging.consuming.offsets import OffsetTracker
from services.messaging.errors import Unavailable
from services.messaging.readiness import Readiness
from services.messaging.semconv import SAGATRACE_MESSAGE_TYPE
from services.messaging.settings import ConsumerSettings
from tests.runs.slowness import is_within
from tests.support.eventually import eventually
from tests.support.faults import Api, Code, FaultyBroker, faulty_broker
from tests.support.records import message
from tests.support.unreadable import send_unreadable
from tracing.testing import RecordedSpans, links_to

TOPIC = "orders"
GROUP = "billing"
HASTY = ConsumerSettings(
    session_timeout=2.0,
    join_timeout=10.0,
    poll_timeout=0.05,
    fetch_max_wait=0.02,
    commit_interval=0.05,
    commit_timeout=0.5,
    first_backoff=0.01,
    longest_backoff=0.05,
    drain=1.0,
)
# What a stop takes at most with these settings when every part of it runs out of time, on a slow machine.
STOP_S = 8.0


class Seen:
    """A handler that keeps what it is given; it waits while it is held."""

    def __init__(self) -> None:
        self.sequences: list[int] = []
        self.begun = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, handled: Message) -> None:
        """Handle a message."""
        self.begun += 1
        await self.go.wait()
        self.sequences.append(handled.sequence)


@pytest.fixture
def fragile() -> Iterator[FaultyBroker]:
    """A broker that may be told to fail."""
    with faulty_broker() as started:
        yield started


async def put(fragile: FaultyBroker, *sequences: int) -> None:
    """Send a message of one order for each number: all in one partition."""
    async with Producer(fragile.address) as producer:
        for sequence in sequences:
            await producer.publish_event(TOPIC, "o-1", message(sequence=sequence))


async def committed(fragile: FaultyBroker) -> int:
    """Return how many records of the topic are below what the group has committed."""
    async with AIOKafkaConsumer(bootstrap_servers=fragile.address, group_id=GROUP, enable_auto_commit=False) as client:
        offsets = [await client.committed(TopicPartition(TOPIC, partition)) for partition in range(4)]
    return sum(offset or 0 for offset in offsets)


@asynccontextmanager
async def consuming(
    fragile: FaultyBroker,
    handler: Callable[[Message], Awaitable[None]],
    **options: Any,
) -> AsyncIterator[Consumer]:
    """Run a consumer."""
    async with Consumer(fragile.address, GROUP, [TOPIC], handler, **{"settings": HASTY, **options}) as consumer:
        yield consumer


def client_of(consumer: Consumer) -> AIOKafkaConsumer:
    """Return the client behind a consumer."""
    assert consumer._membership is not None
    return consumer._membership._client


def rebalance(consumer: Consumer) -> None:
    """Make the group rebalance, as when a member joins."""
    coordinator: Any = client_of(consumer)._coordinator
    coordinator.request_rejoin()


def partition_of(sent: Message) -> int:
    """Return the partition of a message among four, as Kafka's default partitioner does."""
    key = sent.order_id.encode()
    return int(DefaultPartitioner()(key, list(range(4)), list(range(4))))


def nothing_runs() -> bool:
    """Return whether this test's task is the only one left."""
    return asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("fault", ["freeze", "kill"])
async def test_a_group_that_cannot_be_joined_is_told_in_time(fragile: FaultyBroker, fault: str) -> None:
    """A start without a broker ends at its limit, names the group and the variable, and leaves nothing running."""
    getattr(fragile, fault)()
    settings = HASTY.model_copy(update={"join_timeout": 0.5})
    consumer = Consumer(fragile.address, GROUP, [TOPIC], Seen(), settings=settings)
    began = time.monotonic()
    with pytest.raises(Unavailable, match=f"group {GROUP} .*{TOPIC} at KAFKA_BOOTSTRAP_SERVERS={fragile.address}"):
        await consumer.start()
    assert is_within(time.monotonic() - began, STOP_S)
    await eventually(nothing_runs, timeout_s=3)


async def test_a_stop_ends_a_start(fragile: FaultyBroker) -> None:
    """A consumer that is stopped while it joins gives up at once, and raises for the caller that waits for it."""
    fragile.freeze()
    consumer = Consumer(fragile.address, GROUP, [TOPIC], Seen(), settings=HASTY)
    starting = asyncio.create_task(consumer.start())
    await asyncio.sleep(0)
    began = time.monotonic()
    await consumer.stop()
    with pytest.raises(Unavailable, match="was stopped while it joined"):
        await starting
    assert is_within(time.monotonic() - began, STOP_S)
    await eventually(nothing_runs, timeout_s=3)


async def test_a_start_that_is_cancelled_leaves_nothing_behind(fragile: FaultyBroker) -> None:
    """Cancelling a start closes the client that was joining."""
    fragile.freeze()
    consumer = Consumer(fragile.address, GROUP, [TOPIC], Seen(), settings=HASTY)
    starting = asyncio.create_task(consumer.start())
    await asyncio.sleep(0.05)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await eventually(nothing_runs, timeout_s=3)


async def test_a_consumer_has_one_life(fragile: FaultyBroker) -> None:
    """It starts once, stops as often as one likes, and then runs no more."""
    consumer = Consumer(fragile.address, GROUP, [TOPIC], Seen(), settings=HASTY)
    await consumer.start()
    with pytest.raises(RuntimeError, match=f"the consumer of group {GROUP} was started"):
        await consumer.start()
    await asyncio.gather(consumer.stop(), consumer.stop())
    await consumer.stop()
    await consumer.run()
    with pytest.raises(RuntimeError, match="make a new one"):
        await consumer.start()
    await Consumer(fragile.address, GROUP, [TOPIC], Seen(), settings=HASTY).stop()
    await eventually(nothing_runs, timeout_s=3)


@pytest.mark.parametrize("topics", ["orders", []])
async def test_topics_are_several(topics: Any) -> None:
    """A text in the place of a list of topics is refused, and so is no topic."""
    with pytest.raises(ValueError, match="a list of topics"):
        Consumer("localhost:9092", GROUP, topics, Seen())


async def test_two_stops_at_once_commit_what_both_drained(fragile: FaultyBroker) -> None:
    """The second of two stops waits for the first: it does not close the client under the commit."""
    seen = Seen()
    seen.go.clear()
    await put(fragile, 0, 1)
    async with consuming(fragile, seen) as consumer:
        await eventually(lambda: seen.begun)
        stops = [asyncio.create_task(consumer.stop()) for _ in range(2)]
        await asyncio.wait(stops, timeout=0.2)
        assert not any(stop.done() for stop in stops)
        seen.go.set()
        await asyncio.gather(*stops)
    assert seen.sequences == [0]
    assert await committed(fragile) == 1


async def test_a_stop_is_bounded_when_the_broker_is_silent(fragile: FaultyBroker) -> None:
    """With the broker silent, a stop drains what has begun, gives up the commit, and leaves nothing running."""
    seen = Seen()
    seen.go.clear()
    await put(fragile, 0)
    async with consuming(fragile, seen) as consumer:
        await eventually(lambda: seen.begun)
        fragile.freeze()
        seen.go.set()
        began = time.monotonic()
        await consumer.stop()
        assert is_within(time.monotonic() - began, STOP_S)
    assert seen.sequences == [0]
    await eventually(nothing_runs, timeout_s=3)


async def test_a_stop_is_bounded_in_a_rebalance_that_does_not_end(fragile: FaultyBroker) -> None:
    """A poll that waits for a rebalance without a broker does not keep its consumer from stopping."""
    async with consuming(fragile, Seen()) as consumer:
        fragile.freeze()
        rebalance(consumer)
        await eventually(lambda: client_of(consumer)._subscription.reassignment_in_progress)
        began = time.monotonic()
        await consumer.stop()
        assert is_within(time.monotonic() - began, STOP_S)
    await eventually(nothing_runs, timeout_s=3)


async def test_a_rebalance_loses_and_repeats_nothing(fragile: FaultyBroker) -> None:
    """Before its partitions go, a consumer ends what has begun and commits it; with new ones it goes on from there."""
    seen = Seen()
    await put(fragile, *range(5))
    async with consuming(fragile, seen) as consumer:
        await eventually(lambda: len(seen.sequences) == 5)
        seen.go.clear()
        await put(fragile, *range(5, 10))
        await eventually(lambda: seen.begun == 6)
        before = client_of(consumer)._subscription.subscription.assignment
        rebalance(consumer)
        await eventually(lambda: client_of(consumer)._subscription.reassignment_in_progress)
        seen.go.set()
        await eventually(lambda: client_of(consumer)._subscription.subscription.assignment is not before)
        await eventually(lambda: len(seen.sequences) >= 10)
    assert seen.sequences == list(range(10))
    assert await committed(fragile) == 10


async def test_a_fetch_that_fails_loses_nothing(fragile: FaultyBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that a failing fetch had already taken are delivered all the same: the consumer joins anew.

    The client advances its position for partitions whose records it then drops when another one raises.
    """
    seen = Seen()
    real = AIOKafkaConsumer.getmany
    dropped = 0

    async def getmany(self: AIOKafkaConsumer, **options: Any) -> Any:
        nonlocal dropped
        batches = await real(self, **options)
        if batches and not dropped:
            dropped = sum(map(len, batches.values()))
            raise KafkaError("one of the partitions")
        return batches

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", getmany)
    await put(fragile, *range(5))
    readiness = Readiness()
    async with consuming(fragile, seen, readiness=readiness):
        await eventually(readiness.reasons)
        await eventually(lambda: len(seen.sequences) == 5)
        assert readiness.reasons() == {}
    assert dropped
    assert seen.sequences == list(range(5))
    assert await committed(fragile) == 5


async def test_a_record_that_cannot_be_read_holds_its_partition_alone(fragile: FaultyBroker) -> None:
    """What stands before it is handled, and so are all other partitions; the service says which record it is."""
    seen = Seen()
    readiness = Readiness()
    await put(fragile, 0, 1)
    await send_unreadable(fragile.address, TOPIC, b"o-1")
    await put(fragile, 2)
    async with consuming(fragile, seen, readiness=readiness) as consumer:
        await eventually(lambda: "is held" in readiness.reasons().get(f"consumer {GROUP}", ""))
        (reason,) = readiness.reasons().values()
        assert re.fullmatch(f"{TOPIC}/[0-3] is held: offset 2 can't be read", reason)
        async with Producer(fragile.address) as producer:
            others = [message(f"o-{n}", 10 + n) for n in range(2, 12)]
            for other in others:
                await producer.publish_event(TOPIC, other.order_id, other)
        held = int(reason.removeprefix(f"{TOPIC}/")[0])
        sent = {other.sequence for other in others if partition_of(other) != held}
        await eventually(lambda: set(seen.sequences) == {0, 1} | sent)
        rebalance(consumer)
        await eventually(lambda: "is held" not in readiness.reasons().get(f"consumer {GROUP}", ""))
        await eventually(lambda: readiness.reasons() == {f"consumer {GROUP}": reason})
    assert sorted(seen.sequences) == sorted({0, 1} | sent)
    assert await committed(fragile) == 2 + len(sent)


@pytest.mark.parametrize(
    ("api", "code"),
    [
        # What a coordinator says that has just started; the client takes it for fatal.
        (Api.HEARTBEAT, Code.COORDINATOR_LOAD_IN_PROGRESS),
        (Api.FETCH, Code.TOPIC_AUTHORIZATION_FAILED),
    ],
)
async def test_an_error_of_the_broker_does_not_end_the_consumer(fragile: FaultyBroker, api: Api, code: Code) -> None:
    """After an error that the client gives up at, the consumer becomes a member anew and goes on."""
    seen = Seen()
    async with consuming(fragile, seen) as consumer:
        first = client_of(consumer)
        fragile.fail(api, code)
        await eventually(lambda: client_of(consumer) is not first, timeout_s=5)
        await put(fragile, 0, 1)
        await eventually(lambda: seen.sequences == [0, 1])


async def test_commits_that_fail_are_repeated(fragile: FaultyBroker) -> None:
    """A commit that is refused is made up for by the next, and nothing is processed twice for it."""
    seen = Seen()
    async with consuming(fragile, seen):
        fragile.fail(Api.OFFSET_COMMIT, Code.COORDINATOR_NOT_AVAILABLE, 3)
        await put(fragile, 0, 1, 2)
        await eventually(lambda: len(seen.sequences) == 3)
    assert seen.sequences == [0, 1, 2]
    assert await committed(fragile) == 3


async def test_a_broker_that_comes_back_is_used_again(fragile: FaultyBroker) -> None:
    """While the broker is silent the consumer is unready and says why; afterwards it goes on by itself."""
    seen = Seen()
    readiness = Readiness()
    async with consuming(fragile, seen, readiness=readiness):
        await put(fragile, 0)
        await eventually(lambda: seen.sequences == [0])
        assert readiness.reasons() == {}
        fragile.freeze()
        reasons = await eventually(readiness.reasons, timeout_s=6)
        assert "no broker has answered for" in reasons[f"consumer {GROUP}"]
        fragile.thaw()
        await eventually(lambda: not readiness.reasons(), timeout_s=15)
        await put(fragile, 1)
        await eventually(lambda: 1 in seen.sequences, timeout_s=15)


async def test_a_dead_worker_ends_the_consumer(fragile: FaultyBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug that ends a worker is raised by `run`, and the service is unready for it."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    readiness = Readiness()
    async with consuming(fragile, Seen(), readiness=readiness) as consumer:
        monkeypatch.setattr(OffsetTracker, "done", broken)
        await put(fragile, 0)
        with pytest.raises(ZeroDivisionError):
            await consumer.run()
        assert readiness.reasons() == {f"consumer {GROUP}": "the consumer died: ZeroDivisionError"}


async def test_what_is_current_at_the_start_is_no_messages_business(fragile: FaultyBroker) -> None:
    """A consumer that is started under a span and a bound attribute passes neither on to the messages."""
    seen = Seen()
    with RecordedSpans(name_attribute=SAGATRACE_MESSAGE_TYPE) as spans:
        tracer = spans.tracer_provider.get_tracer("test")
        with tracer.start_as_current_span("start"), tracing.bind(tenant="x"):
            consumer = Consumer(fragile.address, GROUP, [TOPIC], seen, settings=HASTY)
            await consumer.start()
        await put(fragile, 0)
        await eventually(lambda: seen.sequences)
        await consumer.stop()
        process, commits = spans.one("process saga.started"), spans.named(f"commit {TOPIC}")
        started = spans.one("start")
        (link,) = process.links
        assert links_to(process, spans.one("send saga.started"))
    assert link.attributes == {}
    assert "tenant" not in (process.attributes or {})
    assert all(commit.parent is None for commit in commits)
    assert not spans.children(started)


async def test_progress_waits_for_the_handler(fragile: FaultyBroker) -> None:
    """The moment up to which a partition is caught up passes that of a record only when the record is processed."""
    seen = Seen()
    async with consuming(fragile, seen) as consumer:
        await eventually(lambda: len(consumer.caught_up()) == 4)
        seen.go.clear()
        await put(fragile, 0)
        sent = datetime.now(UTC)
        await eventually(lambda: seen.begun)

        def passed() -> int:
            return sum(moment > sent for moment in consumer.caught_up().values())

        # The partitions without a record go on; the one with it does not.
        await eventually(lambda: passed() == 3)
        later = datetime.now(UTC)
        await eventually(lambda: sum(moment > later for moment in consumer.caught_up().values()) == 3)
        assert passed() == 3
        seen.go.set()
        await eventually(lambda: passed() == 4)
    assert consumer.caught_up() == {}
