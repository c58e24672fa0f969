"""From an outbox over a broker into an inbox: one trace, in order, once."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.contracts import Message
from services.messaging import Consumer, Producer
from services.messaging.outbox.outbox import Outbox
from services.messaging.outbox.relay import Relay
from services.messaging.semconv import SAGATRACE_MESSAGE_TYPE
from services.messaging.storage.database import Database
from services.messaging.storage.inbox import Inbox
from tests.support.eventually import eventually
from tests.support.outboxes import fates, put
from tracing.testing import RecordedSpans


@asynccontextmanager
async def relaying(database: Database, outbox: Outbox, producer: Producer) -> AsyncIterator[None]:
    """Run a relay on a real producer."""
    relay = Relay(database, outbox, producer)
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        await relay.stop()
        await asyncio.wait_for(task, 100)


async def test_a_row_becomes_one_effect_in_one_trace(
    database: Database,
    outbox: Outbox,
    broker: str,
    topic: str,
) -> None:
    """What a span wrote is sent by its child, processed by that one's child, in order per key, with the ids on each."""
    seen: defaultdict[str, list[int]] = defaultdict(list)
    inbox = Inbox(topic)

    async def handle(message: Message) -> None:
        async with database.transaction() as connection:
            if await inbox.first_delivery(connection, message.event_id):
                seen[message.order_id].append(message.sequence)

    with RecordedSpans(name_attribute=SAGATRACE_MESSAGE_TYPE) as spans:
        async with (
            Producer(broker) as producer,
            Consumer(broker, topic, [topic], handle),
            relaying(database, outbox, producer),
        ):
            with spans.tracer_provider.get_tracer("test").start_as_current_span("handler"):
                await put(database, outbox, "a", "b", "a", "b", topic=topic)
            await eventually(lambda: sum(map(len, seen.values())) == 4, timeout_s=20)
        sends, processes = spans.named("send saga.started"), spans.named("process saga.started")
    assert seen == {"a": [0, 2], "b": [1, 3]}
    assert spans.children(spans.one("handler")) == sends
    assert sorted(len(spans.children(send)) for send in sends) == [1, 1, 1, 1]
    for send in sends:
        attributes = dict(send.attributes or {})
        order = attributes["order.id"]
        assert (attributes["saga.id"], attributes["messaging.kafka.message.key"]) == (f"saga-of-{order}", order)
        assert int(str(attributes["sagatrace.outbox.wait_ms"])) >= 0
        where = (int(str(attributes["messaging.destination.partition.id"])), attributes["messaging.kafka.offset"])
        assert where in [fate.where for fate in await fates(database)]
        (process,) = spans.children(send)
        assert (process.attributes or {})["order.id"] == order
    assert len(processes) == 4
