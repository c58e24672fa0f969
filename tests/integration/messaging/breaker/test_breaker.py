"""The breaker against a broker: half of all messages fail, and nothing is drained and nothing is dropped."""

import asyncio

import pytest

from services.contracts import Message
from services.contracts.topics import dead_letter_topic
from services.messaging import Consumer, Producer
from services.messaging.breaker.breaker import TripInMemory
from services.messaging.breaker.tally import Cooldown
from services.messaging.consuming.membership import Membership
from services.messaging.readiness import Readiness
from services.messaging.settings import ConsumerSettings
from tests.integration.messaging.conftest import QUICK, Committed, ReadTopic
from tests.support.broker import Broker, create_topics
from tests.support.eventually import eventually
from tests.support.records import message

SENT = 120
BOUND = 15


class Half:
    """A handler that fails for every second order until it is repaired."""

    def __init__(self) -> None:
        self.is_broken = True
        self.handled: list[int] = []

    async def __call__(self, got: Message) -> None:
        """Handle one message."""
        if self.is_broken and got.sequence % 2:
            raise ValueError
        self.handled.append(got.sequence)


def tripping(broker: Broker, **changes: float) -> ConsumerSettings:
    """Settings with a breaker that trips soon and stays open."""
    session = 4.0 if broker.is_embedded else 10.0
    limits = {"breaker_in_a_row": 1000, "breaker_window": 50, "breaker_ratio": 0.3, "breaker_cooldown": 3600.0}
    return QUICK.model_copy(update={"session_timeout": session, "retries": 0, **limits, **changes})


@pytest.fixture
def group(broker: Broker, topic: str) -> str:
    """A group that no other test uses, with a dead-letter topic."""
    create_topics(broker, dead_letter_topic(topic))
    return topic


@pytest.fixture
async def full(producer: Producer, group: str) -> str:
    """A topic, named as its group, with a message each of so many orders."""
    orders = [(f"o-{sequence}", sequence) for sequence in range(SENT)]
    await asyncio.gather(*(producer.publish_event(group, order, message(order, number)) for order, number in orders))
    return group


async def test_half_of_the_messages_failing_trips_it_within_its_bound(  # noqa: PLR0913, PLR0917  its fixtures
    broker: Broker,
    producer: Producer,
    full: str,
    read_topic: ReadTopic,
    committed: Committed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bound's number of dead letters and no more; then unready, nothing handled; resumed, all is handled once."""
    monkeypatch.setattr("services.messaging.breaker.breaker._LOOK_EVERY_S", 0.05)
    readiness, handler, trips = Readiness(), Half(), TripInMemory()
    consumer = Consumer(
        broker, full, [full], handler, settings=tripping(broker), producer=producer, readiness=readiness, trips=trips
    )
    async with consumer:
        reasons = await eventually(readiness.reasons, timeout_s=20)
        assert "dead letters" in next(iter(reasons.values()))
        # What had begun has ended, and is committed: nothing is in hand while it is open.
        await eventually(lambda: _is_settled(committed, full, len(handler.handled) + BOUND), timeout_s=20)
        before = len(handler.handled)
        letters = await read_topic(dead_letter_topic(full), BOUND)
        assert len(letters) == BOUND
        handler.is_broken = False
        await trips.close()
        await eventually(lambda: len(handler.handled) == SENT - BOUND, timeout_s=20)
        assert before < SENT - BOUND
        assert not readiness.reasons()
    buried = {int((letter.key or b"").removeprefix(b"o-")) for letter in letters}
    assert sorted([*handler.handled, *buried]) == list(range(SENT))


async def test_a_restarted_member_obeys_the_trip(broker: Broker, producer: Producer, full: str) -> None:
    """A member that starts while the breaker is open handles nothing, also where partitions are newly assigned."""
    readiness, handler, trips = Readiness(), Half(), TripInMemory()
    await trips.trip("10 dead letters in a row", Cooldown(3600, 3600, 1))
    consumer = Consumer(
        broker, full, [full], handler, settings=tripping(broker), producer=producer, readiness=readiness, trips=trips
    )
    async with consumer:
        await eventually(readiness.reasons, timeout_s=20)
        client = consumer._membership._client  # type: ignore[union-attr]
        await eventually(lambda: client.assignment() and client.paused() == client.assignment())
        handler.is_broken = False
        assert handler.handled == []
        await trips.close()
        await eventually(lambda: len(handler.handled) == SENT, timeout_s=20)


@pytest.mark.brokers("kafka", "kafka35")
async def test_members_that_come_and_go_while_it_is_open_handle_nothing(
    broker: Broker,
    producer: Producer,
    full: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rebalance while it is open starts nothing: each member pauses what it is given, and resumes it at the end."""
    monkeypatch.setattr("services.messaging.breaker.breaker._LOOK_EVERY_S", 0.05)
    handler, trips = Half(), TripInMemory()

    def member() -> Consumer:
        return Consumer(broker, full, [full], handler, settings=tripping(broker), producer=producer, trips=trips)

    async with member() as first:
        await eventually(lambda: first._breaker.reason, timeout_s=20)
        async with member() as second:
            both = [first._membership, second._membership]
            await eventually(lambda: all(one is not None and _is_paused(one) for one in both), timeout_s=20)
            before = len(handler.handled)
            handler.is_broken = False
        await eventually(lambda: first._membership is not None and _is_paused(first._membership), timeout_s=20)
        assert len(handler.handled) == before < SENT - BOUND
        await trips.close()
        await eventually(lambda: len(handler.handled) == SENT - BOUND, timeout_s=20)
    assert len(set(handler.handled)) == len(handler.handled)


def _is_paused(member: Membership) -> bool:
    """Return whether a member has partitions, nothing of them in hand, and all of them paused."""
    client = member._client
    idle = not any(partition.in_flight for partition in member._partitions.values())
    return idle and bool(client.assignment()) and client.paused() == client.assignment()


async def test_probes_close_it_when_the_handler_works_again(
    broker: Broker,
    producer: Producer,
    full: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the cool-down records are tried one at a time, and with a repaired handler everything goes on by itself."""
    monkeypatch.setattr("services.messaging.breaker.breaker._LOOK_EVERY_S", 0.05)
    readiness, handler = Readiness(), Half()
    settings = tripping(broker, breaker_cooldown=0.2, breaker_longest_cooldown=0.4)
    consumer = Consumer(broker, full, [full], handler, settings=settings, producer=producer, readiness=readiness)
    async with consumer:
        await eventually(readiness.reasons, timeout_s=20)
        handler.is_broken = False
        await eventually(lambda: not readiness.reasons(), timeout_s=20)
        await eventually(lambda: len(set(handler.handled)) >= SENT - 2 * BOUND, timeout_s=20)
    assert len(handler.handled) == len(set(handler.handled))


async def _is_settled(committed: Committed, topic: str, done: int) -> bool:
    return sum(offset or 0 for offset in await committed(topic, topic)) == done
