"""Kafka itself, killed or silent: every call of a producer and consumer has an end, and a lost sequence is overcome."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from structlog.testing import capture_logs

from services.contracts import Message
from services.messaging import Consumer, Producer
from services.messaging.errors import Unavailable
from services.messaging.settings import ConsumerSettings
from tests.integration.messaging.conftest import HASTY, QUICK, ReadTopic
from tests.runs.slowness import PATIENCE, is_within
from tests.servers.kafka import LIKE_THE_EMBEDDED_BROKER
from tests.servers.pool import Servers
from tests.support.broker import Broker
from tests.support.eventually import eventually
from tests.support.records import message

# A stop drains and commits for half a second each, and leaves the group; the rest is for a slow machine.
_IN_HURRY = ConsumerSettings(**QUICK.model_dump() | {"commit_timeout": 0.5, "drain": 0.5})
_BOUND_S = 10.0


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Fail if the block takes longer, or for ever."""
    began = time.monotonic()
    async with asyncio.timeout(seconds * 2 * PATIENCE):
        yield
    assert is_within(time.monotonic() - began, seconds)


@pytest.mark.parametrize("fault", ["freeze", "kill"])
async def test_every_call_ends_without_kafka(servers: Servers, fault: str) -> None:
    """With Kafka silent or dead, sends fail, and producer and consumer stop, one with a record in hand, all in time."""
    kafka = await asyncio.to_thread(servers.kafka, LIKE_THE_EMBEDDED_BROKER)
    failed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    begun: list[Message] = []

    async def hang(got: Message) -> None:
        begun.append(got)
        if got.sequence:
            await asyncio.Event().wait()

    async with AsyncExitStack() as stack:
        producer = await stack.enter_async_context(Producer(kafka.bootstrap, settings=HASTY))
        consumer = Consumer(kafka.bootstrap, "g", ["t"], hang, settings=_IN_HURRY, producer=producer)
        await stack.enter_async_context(consumer)
        for sequence in range(2):
            await producer.publish_event("t", "o-1", message("o-1", sequence))
        await eventually(lambda: len(begun) == 2)
        getattr(kafka, fault)()
        async with within(_BOUND_S):
            sends = [producer.publish("t", key=b"k", value=b"%d" % number) for number in range(100)]
            outcomes = await asyncio.gather(*sends, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes if not isinstance(outcome, Unavailable)} == set()
        async with within(_BOUND_S):
            await consumer.stop()
        async with within(_BOUND_S):
            await producer.stop()
    await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()}, timeout_s=2)
    # Tasks of the client end with the error that cut them off; no callback of it may fail.
    assert [context for context in failed if "handle" in context] == []


@pytest.mark.brokers("kafka", "kafka35")
async def test_a_producer_whose_sequence_is_lost_is_replaced(broker: Broker, topic: str, read_topic: ReadTopic) -> None:
    """When Kafka refuses a sequence number, the client that would never recover is replaced, and all is sent, once."""
    async with Producer(broker, settings=HASTY) as producer:
        where = await producer.publish(topic, key=b"k", value=b"0")
        _lose_batches(producer, where.topic, where.partition)
        with capture_logs() as logs:
            for number in range(1, 5):
                await producer.publish(topic, key=b"k", value=b"%d" % number)
    replaced = [entry["reason"] for entry in logs if entry["event"] == "producer.replaced"]
    assert replaced == ["OutOfOrderSequenceNumber"]
    assert [record.value for record in await read_topic(topic, 5)] == [b"0", b"1", b"2", b"3", b"4"]


def _lose_batches(producer: Producer, topic: str, partition: int) -> None:
    """Let the client believe that it has sent more than the broker has: what is left of batches that expired."""
    assert producer._client is not None
    client = producer._client.result()
    client._txn_manager.increment_sequence_number(TopicPartition(topic, partition), 7)
