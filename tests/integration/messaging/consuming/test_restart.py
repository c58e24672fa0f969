"""A real broker that goes down and comes back under a producer and a consumer."""

import asyncio
from collections.abc import Awaitable

import pytest
from structlog.testing import capture_logs

from services.contracts import Message
from services.messaging import Consumer, Producer
from services.messaging.errors import Unavailable
from services.messaging.readiness import Readiness
from services.messaging.settings import ConsumerSettings, ProducerSettings
from tests.servers.kafka import LIKE_THE_EMBEDDED_BROKER
from tests.servers.pool import Servers
from tests.support.eventually import eventually
from tests.support.records import message

CONSUMER = ConsumerSettings(session_timeout=6.0, commit_interval=0.1, commit_timeout=1.0, retries=0)
PRODUCER = ProducerSettings(attempts=2, send_timeout=1.0, start_timeout=1.0, stop_timeout=1.0)


async def send(producer: Producer, sequence: int) -> None:
    """Send one message, however often that takes: as the relay of an outbox does."""
    while True:
        try:
            await producer.publish_event("orders", "o-1", message("o-1", sequence))
        except Unavailable:
            continue
        return


@pytest.mark.timeout(150)
async def test_a_broker_that_crashes_and_restarts_is_used_again(servers: Servers) -> None:
    """While the broker is away the consumer is unready; when it is back, all is sent and handled, and nothing buried.

    A handler that sends waits too: although there are no retries, none of its messages becomes a dead letter.
    """
    broker = await asyncio.to_thread(servers.kafka, LIKE_THE_EMBEDDED_BROKER)
    handled: list[int] = []
    readiness = Readiness()
    with capture_logs() as logs:
        async with Producer(broker.bootstrap, settings=PRODUCER) as producer:

            async def handle(got: Message) -> None:
                await producer.publish_event("answers", "o-1", got)
                handled.append(got.sequence)

            consumer = Consumer(broker.bootstrap, "billing", ["orders"], handle, settings=CONSUMER, readiness=readiness)
            async with consumer:
                for sequence in range(3):
                    await send(producer, sequence)
                await eventually(lambda: handled == [0, 1, 2])
                sending: Awaitable[list[None]] = asyncio.gather(*(send(producer, sequence) for sequence in range(3, 8)))
                await asyncio.to_thread(broker.kill)
                await eventually(readiness.reasons, timeout_s=20)
                await asyncio.to_thread(broker.start)
                await sending
                await eventually(lambda: set(handled) >= set(range(8)), timeout_s=40)
                await eventually(lambda: not readiness.reasons(), timeout_s=20)
    assert set(handled) == set(range(8))
    assert "delivery.dead_letter" not in {entry["event"] for entry in logs}
