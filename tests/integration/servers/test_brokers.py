"""Each broker that tests run on does what the services ask of a broker."""

import asyncio
from contextlib import AsyncExitStack
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.servers.pool import Servers
from tests.support.broker import PARTITIONS, Broker
from tests.support.eventually import eventually

pytestmark = pytest.mark.timeout(120)


async def test_an_idempotent_producers_compressed_records_come_back(broker: Broker, topic: str) -> None:
    """A record of a producer with idempotence and Snappy is consumed with its key, value and headers."""
    settings = {"enable_idempotence": True, "acks": "all", "compression_type": "snappy"}
    async with AIOKafkaProducer(bootstrap_servers=broker, **settings) as producer:
        await producer.send_and_wait(topic, b"value" * 100, key=b"key", headers=[("name", b"x")])
    async with AIOKafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
        record = await asyncio.wait_for(consumer.getone(), 200)
    assert (record.key, record.value, record.headers) == (b"key", b"value" * 100, (("name", b"x"),))


async def test_a_topic_has_four_partitions_on_every_broker(broker: Broker, topic: str) -> None:
    """Made by name or by use, a topic has the same number of partitions everywhere."""
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        for each in (topic, f"{topic}.by-use"):
            assert len(await eventually(lambda name=each: producer.partitions_for(name))) == PARTITIONS  # type: ignore[misc]


@pytest.mark.brokers("kafka", "kafka35")
async def test_two_members_share_a_group(broker: Broker, topic: str) -> None:
    """A topic's partitions are divided between two consumers of a group, and the one that stays takes them all."""
    settings = {"bootstrap_servers": broker, "group_id": topic, "heartbeat_interval_ms": 500}
    async with AsyncExitStack() as stack:
        stays = await stack.enter_async_context(AIOKafkaConsumer(topic, **settings))
        async with AIOKafkaConsumer(topic, **settings) as leaves:
            await eventually(
                lambda: len(stays.assignment()) == len(leaves.assignment()) == PARTITIONS // 2, timeout_s=30
            )
            assert stays.assignment().isdisjoint(leaves.assignment())
        await eventually(lambda: len(stays.assignment()) == PARTITIONS, timeout_s=30)


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("part", ["kafka", "kafka35"])
async def test_a_broker_comes_back_with_its_records(servers: Servers, part: str, crash: bool) -> None:  # noqa: FBT001  a parameter of the test
    """A broker that was stopped or killed has the same address and the same records when it is started again."""
    server = getattr(servers, part)({"auto.create.topics.enable": "true", "num.partitions": "1"})
    async with AIOKafkaProducer(bootstrap_servers=server.bootstrap) as producer:
        await producer.send_and_wait("kept", b"value")
    await asyncio.to_thread(server.kill if crash else server.stop)
    await asyncio.to_thread(server.start)
    async with AIOKafkaConsumer("kept", bootstrap_servers=server.bootstrap, auto_offset_reset="earliest") as consumer:
        assert (await asyncio.wait_for(consumer.getone(), 200)).value == b"value"


def test_a_cluster_id_may_begin_with_a_hyphen(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka starts whatever id it is given: one in 64 begins with what looks like an option."""
    monkeypatch.setattr("tests.servers.kafka.uuid4", lambda: UUID(int=0xF8 << 120))
    assert servers.kafka().process.is_running
