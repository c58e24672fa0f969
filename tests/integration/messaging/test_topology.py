"""Topics are made on a real broker: all of them, as they should be, once."""

import asyncio
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from structlog.testing import capture_logs

from services.messaging import Producer
from services.messaging.errors import SendFailed, Unavailable
from services.messaging.topic_differences import Difference, find_differences, log_differences
from services.messaging.topology import all_topics, create_topics
from tests.integration.messaging.conftest import HASTY
from tests.servers.kafka import KafkaServer
from tests.servers.pool import Servers
from tests.support.broker import Broker
from tests.support.eventually import eventually


@pytest.fixture(params=["kafka", "kafka35"])
def own_broker(request: pytest.FixtureRequest, servers: Servers) -> KafkaServer:
    """A broker with no topic on it."""
    server: KafkaServer = getattr(servers, request.param)()
    return server


async def test_topics_are_made_once_as_they_should_be(own_broker: KafkaServer) -> None:
    """The first call makes every topic with 4 partitions, dead letters to be kept for ever; the second makes none."""
    names = [topic.name for topic in all_topics()]
    assert sorted(await create_topics(own_broker.bootstrap)) == sorted(names)
    assert await create_topics(own_broker.bootstrap) == []
    admin = AIOKafkaAdminClient(bootstrap_servers=own_broker.bootstrap)
    await admin.start()
    try:
        # A broker hears of a topic from its controller, a moment after that has made it.
        described = await eventually(lambda: _described(admin, names))
        dead = ConfigResource(ConfigResourceType.TOPIC, "oms-payment.dlq")
        answers = await admin.describe_configs([dead])
    finally:
        await admin.close()
    assert described == dict.fromkeys(names, 4)
    # aiokafka builds its answers from schemas, which have no types.
    resources: list[Any] = answers[0].resources  # type: ignore[attr-defined]
    config = {entry[0]: entry[1] for entry in resources[0][4]}
    assert (config["retention.ms"], config["max.message.bytes"]) == ("-1", str(1_048_588 + 65_536))


async def test_topics_of_somebody_else_are_compared(own_broker: KafkaServer) -> None:
    """Each setting of a topic that is not as expected is one warning; topics as they are created have none."""
    admin = AIOKafkaAdminClient(bootstrap_servers=own_broker.bootstrap)
    await admin.start()
    theirs = NewTopic("oms.saga.replies", 1, 1, topic_configs={"cleanup.policy": "compact"})
    await admin.create_topics([theirs, NewTopic("oms-orchestrator.dlq", 4, 1)])
    await admin.close()
    await create_topics(own_broker.bootstrap)
    found = await eventually(lambda: _found(own_broker.bootstrap, "oms-orchestrator", 4))
    assert {(each.topic, each.setting, each.found) for each in found} == {
        ("oms.saga.replies", "partitions", "1"),
        ("oms.saga.replies", "cleanup.policy", "compact"),
        ("oms-orchestrator.dlq", "max.message.bytes", "1048588"),
        ("oms-orchestrator.dlq", "retention.ms", "604800000"),
    }
    assert await find_differences(own_broker.bootstrap, ["oms-payment", "oms-saga-consumer"]) == []
    with capture_logs() as logged:
        await log_differences(own_broker.bootstrap, ["oms-orchestrator"])
    assert [line["event"] for line in logged] == ["topic.differs"] * 4


@pytest.mark.brokers("embedded")
async def test_a_broker_without_admin_calls_breaks_no_start(broker: Broker) -> None:
    """The embedded broker has the partitions and tells no settings; a broker that is away is not waited for."""
    with capture_logs() as logged:
        await log_differences(broker, ["oms-orchestrator"])
        await log_differences("127.0.0.1:9", ["oms-orchestrator"], timeout_s=1.0)
    assert [line["event"] for line in logged] == ["topics.not_checked"] * 2


async def test_a_broker_that_is_just_starting_is_waited_for(own_broker: KafkaServer) -> None:
    """Topics that are asked for while the broker starts are made as soon as it has a controller."""
    own_broker.stop()
    asked = asyncio.create_task(create_topics(own_broker.bootstrap))
    await asyncio.to_thread(own_broker.start)
    assert len(await asked) == len(all_topics())


async def test_a_send_to_a_topic_that_is_not_there_says_so(own_broker: KafkaServer) -> None:
    """What no topic took ends in time, with the topic's name and the command that makes it."""
    producer = Producer(own_broker.bootstrap, settings=HASTY)
    try:
        with pytest.raises(SendFailed, match=r"oms-payment\.dlq .* no such topic.*`sagatrace topics`"):
            await producer.publish("oms-payment.dlq", key=b"k", value=b"v")
    finally:
        await producer.stop()


async def test_a_broker_that_is_away_is_told() -> None:
    """Without a broker the call ends in time and names the variable."""
    with pytest.raises(Unavailable, match="KAFKA_BOOTSTRAP_SERVERS"):
        await create_topics("127.0.0.1:9", timeout_s=1.0)


async def _found(brokers: str, group: str, count: int) -> list[Difference]:
    """Return the differences of a group's topics once there are so many."""
    found = await find_differences(brokers, [group])
    assert len(found) == count
    return found


async def _described(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, int]:
    """Return each topic's partitions, once the broker knows all of them."""
    described = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(names)}
    assert all(described.values())
    return described
