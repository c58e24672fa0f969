"""Records that other producers write in transactions: what is taken back is not handled, what is past it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from services.contracts import Message, encode
from services.messaging import Consumer
from tests.integration.messaging.conftest import QUICK
from tests.support.broker import Broker, create_topics
from tests.support.eventually import eventually
from tests.support.records import message

pytestmark = pytest.mark.brokers("kafka", "kafka35")


class Peer:
    """A producer of somebody else, which writes to one partition in transactions."""

    def __init__(self, client: AIOKafkaProducer, topic: str) -> None:
        self.client = client
        self._topic = topic

    async def write(self, *orders: str) -> None:
        """Write a message for each order into the open transaction."""
        for order in orders:
            await self.client.send_and_wait(self._topic, encode(message(order)), order.encode(), partition=0)

    async def commit(self, *orders: str) -> None:
        """Write messages in a transaction of their own."""
        async with self.client.transaction():
            await self.write(*orders)

    async def take_back(self, *orders: str) -> None:
        """Write messages in a transaction that is aborted."""
        await self.client.begin_transaction()
        await self.write(*orders)
        await self.client.abort_transaction()


@pytest.fixture
async def single(broker: Broker, topic: str) -> str:
    """A topic with one partition."""
    name = f"{topic}-single"
    await asyncio.to_thread(create_topics, broker, name, partitions=1)
    return name


@pytest.fixture
async def peer(broker: Broker, single: str) -> AsyncIterator[Peer]:
    """The other producer."""
    client = AIOKafkaProducer(bootstrap_servers=broker, transactional_id=f"peer-{single}")
    await client.start()
    yield Peer(client, single)
    await client.stop()


class Seen:
    """A handler that notes the orders of its messages."""

    def __init__(self) -> None:
        self.orders: list[str] = []

    async def __call__(self, received: Message) -> None:
        """Take note of a message."""
        self.orders.append(received.order_id)


async def test_only_committed_transactions_are_handled(broker: Broker, single: str, peer: Peer) -> None:
    """What a transaction took back is never handled; what it committed is, once; what is in doubt waits for its end."""
    seen = Seen()
    await peer.commit("kept-1")
    await peer.take_back("taken-back")
    await peer.commit("kept-2")
    await peer.client.begin_transaction()
    await peer.write("in-doubt")
    async with Consumer(broker, single, [single], seen, settings=QUICK) as consumer:
        await eventually(lambda: seen.orders == ["kept-1", "kept-2"], timeout_s=20)
        before = datetime.now(UTC)
        await peer.client.abort_transaction()
        await eventually(lambda: consumer.caught_up().get((single, 0), before) > before, timeout_s=20)
        await peer.client.begin_transaction()
        await peer.write("late")
        await peer.client.commit_transaction()
        await eventually(lambda: seen.orders[2:] == ["late"], timeout_s=20)
    assert seen.orders == ["kept-1", "kept-2", "late"]


@pytest.mark.parametrize("kept", [True, False], ids=["committed", "aborted"])
async def test_the_group_reaches_the_end_past_a_marker(broker: Broker, single: str, peer: Peer, *, kept: bool) -> None:
    """The marker that ends a transaction, and what it took back, leave no lag: the commit reaches the end."""
    await (peer.commit if kept else peer.take_back)("o-1", "o-2")
    async with Consumer(broker, single, [single], Seen(), settings=QUICK), _asking(broker, single) as asking:
        await eventually(lambda: _is_at_the_end(asking, single), timeout_s=20)
        # Another one, met by a member that has worked.
        await (peer.commit if kept else peer.take_back)("o-3")
        await eventually(lambda: _is_at_the_end(asking, single), timeout_s=20)


async def test_what_is_behind_an_open_transaction_is_not_caught_up(broker: Broker, single: str, peer: Peer) -> None:
    """While a transaction is open nothing behind its first record counts as read, though records are there."""
    async with Consumer(broker, single, [single], Seen(), settings=QUICK) as consumer:
        await peer.commit("o-1")
        await eventually(lambda: _moment(consumer, single) is not None, timeout_s=20)
        await peer.client.begin_transaction()
        began = datetime.now(UTC)
        await peer.write("o-2")
        written = datetime.now(UTC)
        with pytest.raises(AssertionError):
            await eventually(lambda: (_moment(consumer, single) or began) > written, timeout_s=1)
        await peer.client.commit_transaction()
        await eventually(lambda: (_moment(consumer, single) or began) > written, timeout_s=20)


async def test_a_consumer_may_read_what_is_not_committed(broker: Broker, single: str, peer: Peer) -> None:
    """With `isolation_level="read_uncommitted"` a message is handled before its transaction has ended."""
    seen = Seen()
    hasty = QUICK.model_copy(update={"isolation_level": "read_uncommitted"})
    await peer.client.begin_transaction()
    await peer.write("in-doubt")
    async with Consumer(broker, single, [single], seen, settings=hasty):
        await eventually(lambda: seen.orders == ["in-doubt"], timeout_s=20)
    await peer.client.abort_transaction()


@asynccontextmanager
async def _asking(broker: str, group: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A client that asks what a group has committed, without being a member."""
    client = AIOKafkaConsumer(bootstrap_servers=broker, group_id=group, enable_auto_commit=False)
    await client.start()
    client.assign([TopicPartition(group, 0)])
    try:
        yield client
    finally:
        await client.stop()


def _moment(consumer: Consumer, topic: str) -> datetime | None:
    return consumer.caught_up().get((topic, 0))


async def _is_at_the_end(asking: AIOKafkaConsumer, topic: str) -> bool:
    """Whether the group has committed all of its one partition."""
    partition = TopicPartition(topic, 0)
    ends = await asking.end_offsets([partition])
    return bool(await asking.committed(partition) == ends[partition] > 0)
