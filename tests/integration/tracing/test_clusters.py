"""The id of the cluster: taken from what the client asks for anyway, without a request of ours."""

from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaConnectionError

import tracing
from tests.servers.ports import free_ports
from tests.support.broker import cluster_of
from tests.support.conventions import in_old_names
from tests.support.instrumented import attributes
from tracing.testing import RecordedSpans

NAME = "messaging.kafka.cluster.id"


async def test_every_span_and_metric_names_the_cluster(
    spans: RecordedSpans, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, broker: str, topic: str
) -> None:
    """The first message has it already: a client that has started knows its cluster."""
    await producer.send_and_wait(topic, b"v")
    record = await consumer.getone()
    with tracing.process(record):
        pass
    expected = cluster_of(broker)
    assert {span.name: attributes(span)[NAME] for span in spans.finished} == {
        f"send {topic}": expected,
        f"poll {topic}": expected,
        f"process {topic}": expected,
    }
    for metric in ("messaging.client.operation.duration", "messaging.process.duration"):
        assert {in_old_names(point.attributes)[NAME] for point in spans.metric_points(metric)} == {expected}


async def test_the_spans_of_a_loop_name_the_cluster(
    open_producer: Any, open_consumer: Any, broker: str, topic: str
) -> None:
    """A process span that the loop begins has the cluster of its consumer."""
    with RecordedSpans(process_spans="loop") as spans:
        await (await open_producer()).send_and_wait(topic, b"v")
        consumer = await open_consumer()
        async for _ in consumer:
            break
        await consumer.stop()
        assert attributes(spans.one(f"process {topic}"))[NAME] == cluster_of(broker)


async def test_a_client_that_had_started_before_learns_it(producer: AIOKafkaProducer, broker: str, topic: str) -> None:
    """Spans go without it until the client next asks for metadata, and keep it when the options change."""
    with RecordedSpans() as spans:
        await producer.send_and_wait(topic, b"v")
        await producer.client.force_metadata_update()
        await producer.send_and_wait(topic, b"v")
        before, after = (attributes(span).get(NAME) for span in spans.named(f"send {topic}"))
    with RecordedSpans(poll_spans=False) as spans:
        await producer.send_and_wait(topic, b"v")
        assert attributes(spans.one(f"send {topic}"))[NAME] == after
    assert (before, after) == (None, cluster_of(broker))


async def test_receives_without_a_span_make_their_cluster_known(
    open_producer: Any, open_consumer: Any, broker: str, topic: str
) -> None:
    """The process span has the id also where no receive is looked at."""
    with RecordedSpans(poll_spans=False) as spans:
        await (await open_producer()).send_and_wait(topic, b"v")
        consumer = await open_consumer(group_id=topic)
        with tracing.process(await consumer.getone(), group=topic):
            pass
    assert attributes(spans.one(f"process {topic}"))[NAME] == cluster_of(broker)


@pytest.mark.brokers("embedded")
async def test_each_client_names_its_own_cluster(  # noqa: PLR0913, PLR0917 - two of everything
    dying_broker: tuple[str, Any], spans: RecordedSpans, open_producer: Any, open_consumer: Any, broker: str, topic: str
) -> None:
    """A process that reads two clusters tells them apart by client and by group; without a group it says nothing."""
    other, _ = dying_broker
    consumers = [
        (broker, await open_consumer(group_id="near")),
        (other, await open_consumer(group_id="far", bootstrap_servers=other)),
    ]
    for servers, consumer in consumers:
        await (await open_producer(bootstrap_servers=servers)).send_and_wait(topic, b"v")
        record = await consumer.getone()
        for group in (consumer._group_id, None):
            with tracing.process(record, group=group):
                pass
    here, there = cluster_of(broker), cluster_of(other)
    assert here != there
    found = [attributes(span).get(NAME) for span in spans.finished]
    assert found == [here, here, here, None, there, there, there, None]


async def test_a_cluster_that_can_not_be_reached_changes_nothing(spans: RecordedSpans) -> None:
    """The client's own error is the caller's, and no span tells of a cluster."""
    producer = AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(KafkaConnectionError):
        await producer.start()
    await producer.stop()
    assert spans.finished == []


def test_an_answer_without_an_id_is_taken(spans: RecordedSpans, caplog: pytest.LogCaptureFixture) -> None:
    """Metadata of a broker that names no cluster, or that is not metadata at all, reaches the client as it is."""

    class Odd:
        """An answer that breaks where it is read."""

        brokers = ()

        @property
        def cluster_id(self) -> str:
            """Raise."""
            raise ValueError("secret")

    ClusterMetadata().update_metadata(Odd())
    assert "reading the id of a cluster: builtins.ValueError" in caplog.text
    assert "secret" not in caplog.text
    assert spans.finished == []


def test_the_wrappers_go_with_the_instrumentation() -> None:
    """After `uninstrument` the methods of the clients are aiokafka's own."""
    before = ClusterMetadata.update_metadata, AIOKafkaConsumer.start
    with RecordedSpans():
        assert before != (ClusterMetadata.update_metadata, AIOKafkaConsumer.start)
    assert before == (ClusterMetadata.update_metadata, AIOKafkaConsumer.start)
