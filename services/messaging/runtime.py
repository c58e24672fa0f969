"""The life of a service process: telemetry, parts, signals, drain.

What a process that was killed had not exported is in the span journal, and the next process ships it before anything
else. A service is a list of parts. They run side by side, and the service is ready once all have started. A part that
dies stops the process with its error, because a service with a dead loop only looks alive. SIGTERM and SIGINT stop the
parts one after the other in the order of the list, all within one budget; then the spans are flushed. While the service
is still opening what it needs, a signal cancels that instead. A second signal ends the process at once.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Self

import structlog

import tracing
from services.messaging import crash_points, logs, telemetry
from services.messaging.part import Part
from services.messaging.readiness import Readiness
from services.messaging.settings import JOURNAL, RuntimeSettings

_FORCED = 130
# How long a cancelled part may take to end, in seconds.
_CANCEL_S = 1.0


Parts = Callable[[Readiness], AbstractAsyncContextManager[Sequence[Part]]]


async def run_service(name: str, parts: Parts, *, writes: Iterable[str] = ()) -> None:
    """Run a service until a signal ends it.

    Args:
        name: The service's name, for its logs and as `service.name` of its spans.
        parts: Opens what the service needs and yields its parts, in the order in which they are stopped.
        writes: The names of the service's own durable writes, for `SAGATRACE_CRASH_AT`.

    Raises:
        Exception: the first error of a part that died, or of what it needs.
    """
    settings = RuntimeSettings.read()
    crash_points.arm(settings.crash_point(writes))
    logs.configure(name)
    telemetry.configure(name, JOURNAL)
    telemetry.instrument()
    log = structlog.get_logger(__name__)
    stopping = asyncio.Event()
    try:
        with _signals(stopping) as signals:
            readiness = Readiness()
            readiness.unready("start", "the service is starting")
            try:
                async with parts(readiness) as opened:
                    signals.opening = None
                    await _supervise(opened, readiness, stopping, settings.stop_budget)
            except asyncio.CancelledError:
                if not signals.cancelled:
                    raise
        log.info("service.stopped")
    finally:
        tracing.uninstrument()
        tracing.shutdown(timeout_s=settings.flush_timeout)


async def _supervise(parts: Sequence[Part], readiness: Readiness, stopping: asyncio.Event, budget_s: float) -> None:
    """Run all parts until one dies or a stop is requested; then stop them in order."""
    started = {part: asyncio.Event() for part in parts}
    running = {part: asyncio.create_task(_run(part, started[part]), name=type(part).__name__) for part in parts}
    announcing = asyncio.create_task(_announce(started.values(), readiness))
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([stop, *running.values()], return_when=asyncio.FIRST_COMPLETED)
        asked = stopping.is_set()
    finally:
        stop.cancel()
        announcing.cancel()
        dead = [task for task in running.values() if task.done()]
        await _stop(running, budget_s)
    if not asked:
        # What died first is the cause; what ended later may be a consequence, or only the stop.
        for task in dead:
            task.result()
        raise RuntimeError(f"{dead[0].get_name()} ended although nobody had asked it to")


async def _run(part: Part, started: asyncio.Event) -> None:
    await part.start()
    started.set()
    await part.run()


async def _announce(started: Iterable[asyncio.Event], readiness: Readiness) -> None:
    """Report that the service is ready once every part has started: its consumers have joined their groups."""
    for each in started:
        await each.wait()
    _settle_in()
    readiness.ready("start")
    structlog.get_logger(__name__).info("service.ready")


def _settle_in() -> None:
    """Exclude what was loaded from garbage collection: it stays, and to walk it would stop the loop for 0.1 s."""
    gc.collect()
    gc.freeze()


async def _stop(running: dict[Part, asyncio.Task[None]], budget_s: float) -> None:
    """Stop the parts in order, within one budget; cancel those that do not end in time."""
    end = asyncio.get_running_loop().time() + budget_s
    for part, task in running.items():
        try:
            async with asyncio.timeout_at(end):
                await part.stop()
                await asyncio.wait([task])
        except TimeoutError:
            structlog.get_logger(__name__).error("service.stop_timeout", part=task.get_name())
            task.cancel()
        except Exception as error:  # noqa: BLE001  the other parts still have to be stopped
            _log_failure(task, error)
            task.cancel()
    await asyncio.wait(running.values(), timeout=_CANCEL_S)
    for task in running.values():
        _log_failure(task, task.exception() if task.done() and not task.cancelled() else None)


def _log_failure(task: asyncio.Task[None], error: BaseException | None) -> None:
    if error is None:
        return
    structlog.get_logger(__name__).error("service.part_failed", part=task.get_name(), error_type=type(error).__name__)


class _signals:  # noqa: N801  used like a function
    """Sets an event on the first SIGTERM or SIGINT, and ends the process on the second."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping
        #: The task that opens what the service needs, until that is done.
        self.opening = asyncio.current_task()
        #: Whether a signal has cancelled it.
        self.cancelled = False

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    def _receive(self) -> None:
        if self._stopping.is_set():
            os._exit(_FORCED)
        self._stopping.set()
        if self.opening is not None:
            self.cancelled = self.opening.cancel()
