"""The life of a service process: telemetry, parts, signals, drain.

A service is a list of parts, each with `run` and `stop`. All run side by side; one that dies stops the process with its
error, because a service with a dead loop only looks alive. SIGTERM and SIGINT stop the parts one after the other in the
order of the list, each within the stop budget; then the spans are flushed. A second signal ends the process at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog

import tracing
from services.messaging import logs
from services.messaging.consumer import Consumer
from services.messaging.readiness import Readiness
from services.messaging.settings import RuntimeSettings

_FORCED = 130


class Part(Protocol):
    """A loop of a service."""

    async def run(self) -> None:
        """Work until `stop`."""

    async def stop(self) -> None:
        """Ask the work to end; what has begun is finished first."""


Parts = Callable[[Readiness], AbstractAsyncContextManager[Sequence[Part]]]


async def run_service(name: str, parts: Parts) -> None:
    """Run a service until a signal ends it.

    Args:
        name: The service's name, for its logs and as `service.name` of its spans.
        parts: Opens what the service needs and gives its parts, in the order in which they are to be stopped.

    Raises:
        Exception: the first error of a part that died, or of what it needs.
    """
    settings = RuntimeSettings.read()
    logs.configure(name)
    tracing.configure(service_name=name)
    tracing.instrument()
    log = structlog.get_logger(__name__)
    stopping = asyncio.Event()
    try:
        with _signals(stopping):
            readiness = Readiness()
            readiness.unready("start", "the service is starting")
            async with parts(readiness) as opened:
                await _supervise(opened, readiness, stopping, settings.stop_budget)
        log.info("service.stopped")
    finally:
        tracing.shutdown(timeout_s=settings.flush_timeout)


async def _supervise(parts: Sequence[Part], readiness: Readiness, stopping: asyncio.Event, budget_s: float) -> None:
    """Run all parts until one dies or a stop is asked for; then stop them in order."""
    consumers = [part for part in parts if isinstance(part, Consumer)]
    await asyncio.gather(*(consumer.start() for consumer in consumers))
    running = {part: asyncio.create_task(part.run(), name=type(part).__name__) for part in parts}
    readiness.ready("start")
    structlog.get_logger(__name__).info("service.ready")
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([stop, *running.values()], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
        await _stop(running, budget_s)
    for task in running.values():
        if not task.cancelled():
            task.result()
    if not stopping.is_set():
        raise RuntimeError("a part of the service ended although nobody had asked it to")


async def _stop(running: dict[Part, asyncio.Task[None]], budget_s: float) -> None:
    for part, task in running.items():
        try:
            async with asyncio.timeout(budget_s):
                await part.stop()
                await asyncio.wait([task])
        except TimeoutError:
            structlog.get_logger(__name__).error("service.stop_timeout", part=task.get_name())
            task.cancel()
    await asyncio.wait(running.values(), timeout=1)


class _signals:  # noqa: N801  used like a function
    """Sets an event on the first SIGTERM or SIGINT, and ends the process on the second."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._receive)

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    def _receive(self) -> None:
        if self._stopping.is_set():
            os._exit(_FORCED)
        self._stopping.set()
