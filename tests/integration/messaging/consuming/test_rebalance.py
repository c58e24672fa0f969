"""Members that join and leave a group while messages flow, on real Kafka: the embedded broker has one a group."""

import asyncio
from collections import Counter, defaultdict
from contextlib import AsyncExitStack

import pytest

from services.contracts import Message
from services.messaging import Consumer, Producer
from services.messaging.settings import ConsumerSettings
from tests.support.broker import Broker
from tests.support.eventually import eventually
from tests.support.records import message

SETTINGS = ConsumerSettings(poll_timeout=0.05, fetch_max_wait=0.02, commit_interval=0.05)
KEYS = 16


class Group:
    """What the members of a group handled, by key, in the order in which they began and ended."""

    def __init__(self) -> None:
        self.handled: defaultdict[str, list[int]] = defaultdict(list)
        self.by_member: Counter[str] = Counter()
        self._busy: set[str] = set()
        self.overlaps = 0

    def member(self, name: str) -> "Member":
        """Return the handler of one member."""
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


async def flow(broker: str, topic: str, enough: asyncio.Event) -> int:
    """Send messages of all orders, a round at a time, until it is enough; tell how many of each there are."""
    sequence = 0
    async with Producer(broker) as producer:
        while not enough.is_set():
            sends = [producer.publish_event(topic, f"o-{n}", message(f"o-{n}", sequence)) for n in range(KEYS)]
            await asyncio.gather(*sends)
            sequence += 1
            await asyncio.sleep(0.02)
    return sequence


@pytest.mark.brokers("kafka", "kafka35")
async def test_members_come_and_go_while_messages_flow(broker: Broker, topic: str) -> None:
    """Each message is handled, those of one key in order and never two at once, while members join and leave.

    Members hand over what they have finished: with one record of a partition at a time, nothing is handled twice.
    """
    group, enough = Group(), asyncio.Event()

    async def at_work(name: str) -> None:
        await eventually(lambda: group.by_member[name] > KEYS, timeout_s=30)

    async with AsyncExitStack() as stack:
        flowing = asyncio.create_task(flow(broker, topic, enough))
        stack.callback(flowing.cancel)
        members = {name: Consumer(broker, topic, [topic], group.member(name), settings=SETTINGS) for name in "abc"}
        for name, member in members.items():
            await stack.enter_async_context(member)
            await at_work(name)
            if name == "b":
                await members["a"].stop()
        enough.set()
        sent = await flowing
        await eventually(lambda: sum(group.by_member.values()) >= KEYS * sent, timeout_s=30)
    assert dict(group.handled) == {f"o-{n}": list(range(sent)) for n in range(KEYS)}
    assert group.overlaps == 0
