"""Members that join and leave a group while messages flow, on real Kafka: the embedded broker has one a group."""

import asyncio
from collections import Counter, defaultdict

import pytest

from services.contracts import Message
from services.messaging import Consumer, Producer
from services.messaging.settings import ConsumerSettings
from tests.support.broker import Broker
from tests.support.eventually import eventually
from tests.support.records import message

SETTINGS = ConsumerSettings(poll_timeout=0.05, fetch_max_wait=0.02, commit_interval=0.05, max_concurrency=4)
KEYS = 16
PER_KEY = 60


class Group:
    """What the members of a group handled, by key, in the order in which they began and ended."""

    def __init__(self) -> None:
        self.handled: defaultdict[str, list[int]] = defaultdict(list)
        self.by_member: Counter[str] = Counter()
        self._busy: set[str] = set()
        self.overlaps = 0

    def member(self, name: str) -> "Member":
        """Give the handler of one member."""
        return Member(self, name)


class Member:
    """The handler of one member."""

    def __init__(self, group: Group, name: str) -> None:
        self._group = group
        self._name = name

    async def __call__(self, handled: Message) -> None:
        """Handle a message; two of one order at the same time are counted."""
        self._group.overlaps += handled.order_id in self._group._busy
        self._group._busy.add(handled.order_id)
        try:
            await asyncio.sleep(0.002)
        finally:
            self._group._busy.discard(handled.order_id)
        self._group.handled[handled.order_id].append(handled.sequence)
        self._group.by_member[self._name] += 1


async def flow(broker: str, topic: str) -> None:
    """Send so many messages of each order, a round of all orders at a time."""
    async with Producer(broker) as producer:
        for sequence in range(PER_KEY):
            sends = [producer.publish_event(topic, f"o-{n}", message(f"o-{n}", sequence)) for n in range(KEYS)]
            await asyncio.gather(*sends)
            await asyncio.sleep(0.02)


@pytest.mark.brokers("kafka", "kafka35")
async def test_members_come_and_go_while_messages_flow(broker: Broker, topic: str) -> None:
    """Each message is handled, those of one key in order and never two at once, whoever joins and leaves meanwhile.

    Members that leave in order hand over what they have finished: nothing is handled twice.
    """
    group = Group()
    first, second, third = (
        Consumer(broker, topic, [topic], group.member(name), settings=SETTINGS) for name in ("first", "second", "third")
    )
    await first.start()
    flowing = asyncio.create_task(flow(broker, topic))
    await eventually(lambda: group.by_member["first"] > 50)
    await second.start()
    await eventually(lambda: group.by_member["second"] > 20, timeout_s=20)
    await first.stop()
    await third.start()
    await flowing
    await eventually(lambda: sum(group.by_member.values()) >= KEYS * PER_KEY, timeout_s=30)
    await asyncio.gather(second.stop(), third.stop())
    assert dict(group.handled) == {f"o-{n}": list(range(PER_KEY)) for n in range(KEYS)}
    assert group.overlaps == 0
