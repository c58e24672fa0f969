"""Transactions, traced against a broker."""

from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation
from opentelemetry.trace import StatusCode, get_tracer

import tracing
from tests.support.instrumented import attributes
from tracing.testing import RecordedSpans, is_child


async def test_a_transaction_is_one_span_with_its_sends_below(
    spans: RecordedSpans, open_producer: Any, topic: str
) -> None:
    """Outside of any span the sends are children of the transaction; in a handler they stay in their trace and link."""
    producer = await open_producer(transactional_id=topic)
    async with producer.transaction():
        await producer.send_and_wait(topic, b"v")
        with get_tracer("program").start_as_current_span("handler"):
            await producer.send_and_wait(topic, b"v")
    transaction = spans.one("transaction")
    below, linked = spans.named(f"send {topic}")
    assert is_child(below, transaction)
    assert is_child(linked, spans.one("handler"))
    assert [(link.context, dict(link.attributes or {})) for link in linked.links] == [
        (transaction.context, {"link.type": "transaction"})
    ]
    assert attributes(transaction)["messaging.kafka.transaction.outcome"] == "committed"
    assert attributes(transaction)["messaging.kafka.transactional.id"] == topic


async def test_an_aborted_transaction_says_so(spans: RecordedSpans, open_producer: Any, topic: str) -> None:
    """An exception inside aborts, which is an outcome and no error; the exception reaches the caller."""
    producer = await open_producer(transactional_id=topic)
    with pytest.raises(KeyError):
        async with producer.transaction():
            raise KeyError
    found = spans.one("transaction")
    assert attributes(found)["messaging.kafka.transaction.outcome"] == "aborted"
    assert found.status.status_code is StatusCode.UNSET


async def test_misuse_of_transactions_is_refused_as_before(
    spans: RecordedSpans, producer: AIOKafkaProducer, topic: str
) -> None:
    """Without a transactional id every call raises the client's own error, and no transaction is left open."""
    with pytest.raises(IllegalOperation):
        await producer.begin_transaction()
    with pytest.raises(IllegalOperation):
        await producer.commit_transaction()
    with pytest.raises(IllegalOperation):
        await producer.abort_transaction()
    with pytest.raises(IllegalOperation):
        await producer.send_offsets_to_transaction({}, topic)
    assert spans.named("transaction") == []
    (commit,) = spans.finished
    assert commit.name == "commit"
    assert attributes(commit)["error.type"] == "aiokafka.errors.IllegalOperation"


async def test_a_transaction_goes_on_when_options_are_replaced(
    spans: RecordedSpans, open_producer: Any, topic: str
) -> None:
    """Instrumenting with other options while a transaction is open neither loses its span nor what belongs to it."""
    producer = await open_producer(transactional_id=topic)
    async with producer.transaction():
        tracing.instrument(tracer_provider=spans.tracer_provider, message_key="off")
        await producer.send_and_wait(topic, b"v")
    transaction = spans.one("transaction")
    assert is_child(spans.one(f"send {topic}"), transaction)
    assert attributes(transaction)["messaging.kafka.transaction.outcome"] == "committed"


async def test_a_transaction_that_is_open_at_the_end_of_tracing_ends_there(
    spans: RecordedSpans, open_producer: Any, topic: str
) -> None:
    """Whoever stops tracing has the transaction's span so far, which says nothing of an outcome."""
    producer = await open_producer(transactional_id=topic)
    async with producer.transaction():
        tracing.uninstrument()
        assert "messaging.kafka.transaction.outcome" not in attributes(spans.one("transaction"))
        tracing.instrument(tracer_provider=spans.tracer_provider)
        await producer.send_and_wait(topic, b"v")
    assert len(spans.named("transaction")) == 1
