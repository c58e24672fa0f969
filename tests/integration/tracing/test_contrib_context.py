"""Faults of opentelemetry-instrumentation-aiokafka 0.66b1 in how context travels; contrib must fail each test here."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from opentelemetry import trace

from tests.support.instrumented import Instrumented, span_id, trace_id, traceparents

# What an instrumentation does to a client is the same on every broker.
pytestmark = pytest.mark.brokers("embedded")


async def test_row_1_a_span_is_current_in_the_handler(
    instrumented: Instrumented, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """In the body of the loop over a consumer the message's span is current."""
    instrumented.start()
    await producer.send_and_wait(topic, b"v")
    async for record in consumer:
        with instrumented.process(record):
            assert trace.get_current_span().get_span_context().is_valid
        break


async def test_row_2_the_next_hop_continues_the_trace(
    instrumented: Instrumented, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """What a handler sends is in the trace of the message that it handles."""
    instrumented.start()
    await producer.send_and_wait(topic, b"first")
    with instrumented.process(await consumer.getone()):
        await producer.send_and_wait(topic, b"second")
    first, second = instrumented.sends
    assert trace_id(first) == trace_id(second)


async def test_row_3_a_broken_traceparent_does_not_cost_the_record(
    instrumented: Instrumented, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """A record whose traceparent is not UTF-8 is delivered."""
    await producer.send_and_wait(topic, b"v", headers=[("traceparent", b"\xff\xfe\x00")])
    instrumented.start()
    async with asyncio.timeout(50):
        record = await consumer.getone()
    with instrumented.process(record):
        assert record.value == b"v"


async def test_row_4_a_broken_baggage_does_not_cost_the_poll(
    instrumented: Instrumented, open_producer: Any, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """All records of a poll are delivered though one of them has baggage that is not UTF-8."""
    producer = await open_producer(linger_ms=50)
    sent = [
        await producer.send(topic, b"%d" % n, partition=0, headers=[("baggage", b"k=\xe9" if n == 4 else b"k=v")])
        for n in range(9)
    ]
    await asyncio.gather(*sent)
    instrumented.start()
    values: list[bytes] = []
    async with asyncio.timeout(50):
        while len(values) < 9:
            for batch in (await consumer.getmany(timeout_ms=100)).values():
                for record in batch:
                    with instrumented.process(record):
                        values.append(record.value or b"")
    assert values == [b"%d" % n for n in range(9)]


async def test_row_8_a_forwarded_message_is_a_child_of_the_relay(
    instrumented: Instrumented, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """Headers that are sent on carry one traceparent, that of the last send."""
    instrumented.start()
    await producer.send_and_wait(topic, b"first")
    record = await consumer.getone()
    with instrumented.process(record):
        await producer.send_and_wait(topic, b"forwarded", headers=list(record.headers))
    forwarded = await consumer.getone()
    (parent,) = traceparents(forwarded)
    assert int(parent.split(b"-")[2], 16) == span_id(instrumented.sends[-1])


async def test_row_9_a_shared_header_list_is_left_alone(
    instrumented: Instrumented, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, receive: Any
) -> None:
    """One header list for several sends stays as it is, and each message has its own trace."""
    shared = [("app", b"x")]
    instrumented.start()
    for _ in range(4):
        await producer.send_and_wait(topic, b"v", partition=0, headers=shared)
    records = await receive(consumer, 4)
    assert shared == [("app", b"x")]
    assert [len(traceparents(record)) for record in records] == [1, 1, 1, 1]
    assert len({traceparents(record)[0] for record in records}) == 4


async def test_row_15_the_records_of_a_batch_carry_context(
    instrumented: Instrumented, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str, receive: Any
) -> None:
    """Each record of a batch has a traceparent of its own, and the batch has a send span."""
    instrumented.start()
    batch = producer.create_batch()
    for n in range(3):
        batch.append(timestamp=None, key=None, value=b"%d" % n)
    await (await producer.send_batch(batch, topic, partition=0))
    records = await receive(consumer, 3)
    assert len({traceparents(record)[0] for record in records}) == 3
    assert len(instrumented.sends) == 1


async def test_row_27_an_ambient_span_is_kept(
    instrumented: Instrumented, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    """A span that was current when a message is processed is linked to, the poll below it."""
    instrumented.start()
    await producer.send_and_wait(topic, b"v")
    with instrumented.tracer.start_as_current_span("cron") as cron, instrumented.process(await consumer.getone()):
        pass
    ambient = cron.get_span_context().span_id
    (poll,) = instrumented.receives
    assert poll.parent is not None
    assert poll.parent.span_id == ambient
    assert any(link.context.span_id == ambient for span in instrumented.of_type("process") for link in span.links)
