"""A service process for tests: `python -m tests.support.small_service MODE`."""

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog
from opentelemetry import trace

from services.contracts import Message
from services.messaging import Consumer
from services.messaging.part import Part
from services.messaging.readiness import Readiness
from services.messaging.runtime import run_service

MODE = sys.argv[1] if len(sys.argv) > 1 else "good"


class Idle(Part):
    """Does nothing until it is stopped, which goes as its name and the mode say."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Wait for the stop, or fail if the mode says so."""
        if self._name == "second" and MODE == "dies":
            raise LookupError("4111 1111")
        if self._name == "second" and MODE == "ends":
            return
        await self._stopped.wait()

    async def stop(self) -> None:
        """End, or hang."""
        structlog.get_logger().info("stopping", name=self._name, frozen=gc.get_freeze_count())
        if self._name == "first" and MODE == "hangs":
            await asyncio.Event().wait()
        self._stopped.set()


async def _ignore(_: Message) -> None:
    """Handle nothing."""


@asynccontextmanager
async def parts(readiness: Readiness) -> AsyncIterator[Sequence[Part]]:
    """Yield the parts of the mode."""
    if MODE == "opens":
        structlog.get_logger().info("opening")
        await asyncio.Event().wait()
    if MODE == "traces":
        trace.get_tracer("small").start_span("the last span").end()
    listed: list[Part] = [Idle("first"), Idle("second")]
    if MODE == "consumes":
        listed.append(Consumer(os.environ["BROKERS"], "small", ["small"], _ignore, readiness=readiness))
    yield listed
    structlog.get_logger().info("closed")


if __name__ == "__main__":
    asyncio.run(run_service("small", parts))
