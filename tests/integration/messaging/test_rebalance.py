"""Members of one group come and go on a real broker while messages flow."""

import asyncio
from collections import defaultdict
from contextlib import AsyncExitStack, suppress

import pytest

from services.contracts import Message
from services.messaging import Consumer, Producer
from tests.integration.messaging.conftest import QUICK, Committed
from tests.support.broker import Broker
from tests.support.eventually import eventually
from tests.support.records import message

pytestmark = pytest.mark.brokers("kafka", "kafka35")
ORDERS = [f"o-{number}" for number in range(40)]


async def test_nothing_is_lost_and_order_is_kept_while_members_come_and_go(
    broker: Broker,
    producer: Producer,
    topic: str,
    committed: Committed,
) -> None:
    """With members joining and leaving, each message is handled once and in the order of its key, and committed."""
    seen: defaultdict[str, list[int]] = defaultdict(list)
    by: defaultdict[int, int] = defaultdict(int)
    enough = asyncio.Event()

    def member(number: int) -> Consumer:
        async def handle(got: Message) -> None:
            await asyncio.sleep(0.001)
            seen[got.order_id].append(got.sequence)
            by[number] += 1

        settings = QUICK.model_copy(update={"max_concurrency": 4})
        return Consumer(broker, topic, [topic], handle, settings=settings, producer=producer)

    def handled() -> int:
        return sum(map(len, seen.values()))

    async with AsyncExitStack() as members:
        first = await members.enter_async_context(member(1))
        sending = asyncio.create_task(send_rounds(producer, topic, enough))
        await eventually(lambda: handled() > 50, timeout_s=20)
        await members.enter_async_context(member(2))
        await eventually(lambda: by[2] > 20, timeout_s=30)
        await first.stop()
        await members.enter_async_context(member(3))
        await eventually(lambda: by[3] > 20, timeout_s=30)
        enough.set()
        rounds = await sending
        await eventually(lambda: handled() >= len(ORDERS) * rounds, timeout_s=60)
    # Every drain was within its budget, so each message was handled once, and in order.
    assert dict(seen) == {order: list(range(rounds)) for order in ORDERS}
    assert sum(offset or 0 for offset in await committed(topic, topic)) == len(ORDERS) * rounds


async def send_rounds(producer: Producer, topic: str, enough: asyncio.Event) -> int:
    """Send each order a message, round by round until it is enough, and tell how many rounds that took."""
    sequence = 0
    while not enough.is_set():
        await asyncio.gather(*(producer.publish_event(topic, order, message(order, sequence)) for order in ORDERS))
        sequence += 1
        with suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), 0.05)
    return sequence
