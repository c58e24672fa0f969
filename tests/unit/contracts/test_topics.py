"""The map of topics, groups and messages."""

from __future__ import annotations

import typing
from typing import Any

import pytest

from services.contracts import topics, versions
from services.contracts.envelope import Message

MESSAGES: tuple[type[Message], ...] = typing.get_args(versions.Newest)

EXPECTED = {
    "order.created": topics.ORDER_EVENTS,
    "order.refunded": topics.ORDER_EVENTS,
    "saga.started": topics.SAGA_EVENTS,
    "saga.failed": topics.SAGA_EVENTS,
    "inventory.reserve": topics.INVENTORY_COMMANDS,
    "inventory.release": topics.INVENTORY_COMMANDS,
    "payment.charge": topics.PAYMENT_COMMANDS,
    "payment.refund": topics.PAYMENT_COMMANDS,
    "inventory.reserved": topics.SAGA_REPLIES,
    "payment.declined": topics.SAGA_REPLIES,
    "payment.refunded": topics.SAGA_REPLIES,
}


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_every_kind_of_message_has_a_topic_with_readers(kind: type[Message]) -> None:
    """Each kind of message goes to a topic that some group reads."""
    fields: dict[str, Any] = {"event_type": kind.model_fields["event_type"].default}
    message = kind.model_construct(**fields)
    assert topics.READERS[topics.topic_of(message)]
    assert topics.topic_of(message) == EXPECTED.get(message.event_type, topics.topic_of(message))


def test_the_audit_trail_reads_both_event_topics() -> None:
    """The audit group reads all order and saga events, and no command or reply."""
    read = {topic for topic, groups in topics.READERS.items() if topics.AUDIT_GROUP in groups}
    assert read == topics.EVENT_TOPICS


def test_a_groups_own_topics_are_named_after_it() -> None:
    """The retry and dead-letter topics of a group carry its name."""
    assert topics.retry_topic("oms-payment") == "oms-payment.retry"
    assert topics.dead_letter_topic("oms-payment") == "oms-payment.dlq"
