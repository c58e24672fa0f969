"""A relay that runs for the length of a block, and what it has sent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from opentelemetry import trace

from services.messaging.outbox.relay import Relay
from services.messaging.storage.database import Database
from tests.support.outboxes import fates
from tests.support.publishers import Acknowledged, KeepingPublisher


class Sending(KeepingPublisher):
    """Takes records in a span, as a producer does."""

    async def publish(self, topic: str, *, key: bytes | None, value: bytes | None) -> Acknowledged:
        """Take one record."""
        with trace.get_tracer("test").start_as_current_span("send"):
            return await super().publish(topic, key=key, value=value)


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    """Run a relay, and stop it at the end."""
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        await relay.stop()
        await asyncio.wait_for(task, 100)


def all_sent(database: Database) -> Callable[[], asyncio.Future[bool]]:
    """Return a predicate: whether every row of the outbox was sent."""

    async def check() -> bool:
        return all(fate.sent for fate in await fates(database))

    return lambda: asyncio.ensure_future(check())
