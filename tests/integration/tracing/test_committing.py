"""Commits, traced against a broker."""

from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalOperation, IllegalStateError
from opentelemetry.trace import SpanKind, StatusCode

import tracing
from tests.support.instrumented import attributes
from tracing.testing import RecordedSpans, is_child


async def test_a_commit_is_a_child_of_the_handler(
    spans: RecordedSpans, producer: AIOKafkaProducer, open_consumer: Any, topic: str
) -> None:
    """A commit inside a handler names the partition and the group, and carries no order."""
    consumer = await open_consumer(group_id=topic)
    await producer.send_and_wait(topic, b"v", partition=0)
    record = await consumer.getone()
    with tracing.process(record, group=topic), tracing.bind(**{"order.id": "o-1"}):
        await consumer.commit({TopicPartition(topic, 0): record.offset + 1})
    commit = spans.one(f"commit {topic}")
    assert commit.kind is SpanKind.CLIENT
    assert is_child(commit, spans.one(f"process {topic}"))
    found = attributes(commit)
    assert found["messaging.operation.type"] == "settle"
    assert found["messaging.destination.partition.id"] == "0"
    assert found["messaging.consumer.group.name"] == topic
    assert "order.id" not in found
    names = {
        point.attributes["messaging.operation.name"]
        for point in spans.metric_points("messaging.client.operation.duration")
    }
    assert names == {"send", "poll", "commit"}


async def test_a_commit_of_everything_is_named_by_the_assignment(
    spans: RecordedSpans, producer: AIOKafkaProducer, open_consumer: Any, topic: str
) -> None:
    """Without offsets the consumer commits what it has, and so says the span."""
    consumer = await open_consumer(group_id=topic)
    await producer.send_and_wait(topic, b"v", partition=0)
    await consumer.getone()
    await consumer.commit()
    assert "messaging.destination.partition.id" not in attributes(spans.one(f"commit {topic}"))


@pytest.mark.parametrize("commit_spans", [True, False])
async def test_commit_spans_can_be_switched_off(
    producer: AIOKafkaProducer, open_consumer: Any, topic: str, *, commit_spans: bool
) -> None:
    """Without commit spans a commit is counted, and so is one that fails, by its error."""
    consumer = await open_consumer(group_id=topic)
    with RecordedSpans(commit_spans=commit_spans) as spans:
        await producer.send_and_wait(topic, b"v", partition=0)
        record = await consumer.getone()
        await consumer.commit({TopicPartition(topic, 0): record.offset + 1})
        with pytest.raises(IllegalStateError):
            await consumer.commit({TopicPartition("elsewhere", 0): 1})
    assert len([span for span in spans.finished if span.name.startswith("commit ")]) == 2 * commit_spans
    errors = [
        point.attributes.get("error.type")
        for point in spans.metric_points("messaging.client.operation.duration")
        if point.attributes["messaging.operation.name"] == "commit"
    ]
    assert set(errors) == {None, "aiokafka.errors.IllegalStateError"}


@pytest.mark.parametrize("offsets", [None, {}, "nonsense", {TopicPartition("elsewhere", 0): 1}], ids=repr)
async def test_a_commit_that_is_refused_is_refused_as_before(
    spans: RecordedSpans, consumer: AIOKafkaConsumer, offsets: Any
) -> None:
    """A consumer without a group cannot commit: the caller gets the client's own error."""
    with pytest.raises(IllegalOperation):
        await consumer.commit(offsets)
    assert all(span.status.status_code is StatusCode.ERROR for span in spans.finished)
