"""The lag as the shipped collector measures it from outside, on Kafka, in Prometheus."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.servers.pool import Servers
from tests.support.broker import Broker, create_topics
from tests.support.eventually import eventually
from tests.support.prometheus import Prometheus
from tests.support.sources import ROOT

_FOUND_S = 30.0
_PARTITIONS = 4

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def lagging(kafka: Broker) -> str:
    """A topic that no other test uses."""
    name = f"lagging.{uuid4().hex[:8]}"
    create_topics(kafka, name, partitions=_PARTITIONS)
    return name


@pytest.fixture
def observed(servers: Servers, kafka: Broker, prometheus: str, tmp_path_factory: pytest.TempPathFactory) -> Prometheus:
    """Prometheus behind the shipped collector, which looks at Kafka each half second."""
    here: dict[str, Any] = {
        "extensions": {"file_storage/queue": {"directory": str(tmp_path_factory.mktemp("queue"))}},
        "receivers": {"kafkametrics": {"collection_interval": "500ms", "metadata": {"refresh_interval": "1s"}}},
        "exporters": {
            "otlp_grpc/jaeger": {"endpoint": "127.0.0.1:1"},
            "otlp_http/prometheus": {"endpoint": f"{prometheus}/api/v1/otlp"},
        },
        "service": {"telemetry": {"metrics": {"level": "none", "readers": []}}},
    }
    servers.collector(ROOT / "otel-collector.yaml", here, environment={"KAFKA_BOOTSTRAP_SERVERS": str(kafka)})
    return Prometheus(prometheus)


@pytest.fixture
async def producer(kafka: Broker) -> AsyncIterator[AIOKafkaProducer]:
    """A producer."""
    async with AIOKafkaProducer(bootstrap_servers=kafka) as started:
        yield started


async def fill(producer: AIOKafkaProducer, topic: str, partition: int, count: int) -> None:
    """Send so many messages to a partition."""
    sent = [await producer.send(topic, b"x", partition=partition) for _ in range(count)]
    await asyncio.gather(*sent)


async def commit(brokers: str, group: str, topic: str, offsets: Sequence[int]) -> None:
    """Commit offsets of the first partitions for a group that nobody is in."""
    committing = AIOKafkaConsumer(bootstrap_servers=brokers, group_id=group, enable_auto_commit=False)
    await committing.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(len(offsets))]
        committing.assign(partitions)
        await committing.commit(dict(zip(partitions, offsets, strict=True)))
    finally:
        await committing.stop()


def lags(prometheus: Prometheus, group: str) -> dict[str, float]:
    """Ask for a group's lag now, by partition."""
    found = prometheus.ask("query", query=f'kafka_consumer_group_lag{{group="{group}"}}')["result"]
    return {sample["metric"]["partition"]: float(sample["value"][1]) for sample in found}


async def test_a_partition_without_a_commit_has_no_lag(
    observed: Prometheus, kafka: Broker, lagging: str, producer: AIOKafkaProducer
) -> None:
    """The lag is what is not committed yet; where the group committed nothing there is none, not even -1."""
    for partition in range(_PARTITIONS):
        await fill(producer, lagging, partition, 10)
    await commit(kafka, lagging, lagging, [3, 10])
    await eventually(lambda: lags(observed, lagging) == {"0": 7, "1": 0}, timeout_s=_FOUND_S)
    # A commit makes it appear.
    await commit(kafka, lagging, lagging, [3, 10, 9])
    await eventually(lambda: lags(observed, lagging) == {"0": 7, "1": 0, "2": 1}, timeout_s=_FOUND_S)
    assert observed.values(f'min_over_time(kafka_consumer_group_lag{{group="{lagging}",partition="3"}}[1h])') == []


async def test_the_lag_is_never_negative(
    observed: Prometheus, kafka: Broker, lagging: str, producer: AIOKafkaProducer
) -> None:
    """A commit past the end that was read before it, as the collector reads it, is a lag of 0."""
    await fill(producer, lagging, 0, 10)
    await commit(kafka, lagging, lagging, [15])
    await eventually(lambda: lags(observed, lagging) == {"0": 0}, timeout_s=_FOUND_S)
    await fill(producer, lagging, 0, 8)
    await eventually(lambda: lags(observed, lagging) == {"0": 3}, timeout_s=_FOUND_S)
    assert observed.values(f'min_over_time(kafka_consumer_group_lag{{group="{lagging}"}}[1h])') == [0]


async def test_a_dead_group_lags_on(
    observed: Prometheus, kafka: Broker, lagging: str, producer: AIOKafkaProducer
) -> None:
    """A group that nobody is in any more shows no member and a lag that grows with what is sent."""
    await fill(producer, lagging, 0, 10)
    member = AIOKafkaConsumer(lagging, bootstrap_servers=kafka, group_id=lagging, enable_auto_commit=False)
    await member.start()
    members = f'kafka_consumer_group_members{{group="{lagging}"}}'
    try:
        await member.commit({TopicPartition(lagging, 0): 10})
        await eventually(lambda: (lags(observed, lagging), observed.values(members)) == ({"0": 0}, [1]), _FOUND_S)
    finally:
        await member.stop()
    await fill(producer, lagging, 0, 25)
    await eventually(lambda: (lags(observed, lagging), observed.values(members)) == ({"0": 25}, [0]), _FOUND_S)
