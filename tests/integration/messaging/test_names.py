"""The names of a message's spans on its whole way, over a broker: sent, failed, kept as a dead letter, re-driven."""

import pytest

from services.contracts import Message, encode, new_id
from services.contracts.topics import dead_letter_topic, retry_topic
from services.messaging import Consumer, Producer
from services.messaging.dead_letters.headers import read_dead_letter
from services.messaging.dead_letters.redrive import send_redrive
from services.messaging.errors import Fatal
from tests.integration.messaging.conftest import QUICK, ReadTopic
from tests.support.broker import Broker, create_topics
from tests.support.commands import release
from tests.support.eventually import eventually
from tests.support.spans import attributes_of
from tracing.testing import RecordedSpans

pytestmark = pytest.mark.brokers("embedded")


async def test_a_dead_letter_and_its_redrive_keep_the_names(
    broker: Broker, producer: Producer, topic: str, read_topic: ReadTopic, spans: RecordedSpans
) -> None:
    """Wherever a message is, its spans are named by its type and say what it undoes; topics tell places apart."""
    group, handled, failing = f"{topic}-group", [], True

    async def handle(message: Message) -> None:
        if failing:
            raise Fatal("not today")
        handled.append(message)

    create_topics(broker, dead_letter_topic(group), retry_topic(group))
    async with Consumer(broker, group, [topic, retry_topic(group)], handle, settings=QUICK, producer=producer):
        command = release()
        await producer.publish_event(topic, command.order_id, command)
        (kept,) = await read_topic(dead_letter_topic(group), 1)
        failing = False
        await send_redrive(producer, group, read_dead_letter(kept), new_id())
        await eventually(lambda: handled, timeout_s=200)
    told = {
        (span.name, attributes_of(span)["messaging.destination.name"], span.status.description)
        for span in spans.finished
        if "sagatrace.message.type" in attributes_of(span)
    }
    assert told == {
        ("send inventory.release", topic, None),
        ("process inventory.release", topic, "Fatal: not today"),
        ("send inventory.release", dead_letter_topic(group), None),
        ("send inventory.release", retry_topic(group), None),
        ("process inventory.release", retry_topic(group), None),
    }
    undone = [attributes_of(span).get("saga.compensates") for span in spans.finished if " inventory." in span.name]
    assert undone == ["inventory.reserve"] * len(told)


async def test_poison_that_says_its_type_is_named_by_it_everywhere(
    broker: Broker, producer: Producer, topic: str, read_topic: ReadTopic, spans: RecordedSpans
) -> None:
    """A message with a bad field is named by its type once it was read; who sent it as bytes knew no type."""
    group = f"{topic}-group"

    async def handle(message: Message) -> None:
        raise AssertionError(message)

    create_topics(broker, dead_letter_topic(group), retry_topic(group))
    poison = encode(release()).replace(b'"attempt":1', b'"attempt":"forty-one"')
    async with Consumer(broker, group, [topic, retry_topic(group)], handle, settings=QUICK, producer=producer):
        await producer.publish(topic, key=b"o-1", value=poison)
        (kept,) = await read_topic(dead_letter_topic(group), 1)
        await send_redrive(producer, group, read_dead_letter(kept), new_id())
        await eventually(lambda: len(spans.named("process inventory.release")) == 2, timeout_s=200)
    assert len(spans.named(f"send {topic}")) == 1
    assert len(spans.named("send inventory.release")) == 3
    wrong = {span.status.description for span in spans.named("process inventory.release")}
    assert wrong == {"Invalid: payload.attempt: int_type"}
    assert not [span for span in spans.finished if "forty-one" in span.to_json()]
