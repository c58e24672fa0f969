"""FastStream's Kafka subscribers: the process span around a handler, whatever task runs it.

With `max_workers` FastStream hands a record to another task, and a batch to one call. No loop over the consumer sees
the handler then, so the span is opened where FastStream runs it, by `tracing.process`: for one record, or for a batch.
A batch of one record continues its trace, as the record alone would. What the handler raises is on the span.

A subscriber whose broker has FastStream's own telemetry middleware has its process span from that, and not from here.

FastStream is looked for when a consumer receives for the first time: whoever reads by it has imported it. If a version
of it is built otherwise, its records are handed out by loops as those of any other program.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Sequence
from typing import Any, Final

from tracing.processing import process
from tracing.telemetry import current

#: Where FastStream receives, and where it runs a handler.
_MODULE: Final = "faststream.kafka.subscriber.usecase"
_CLASS: Final = "LogicSubscriber"
_READS: Final = "_run_consume_loop"
_HANDLES: Final = "process_message"

_original: Any = None


def reads() -> bool:
    """Return whether the current task is one in which FastStream receives; its handlers are traced from now on."""
    subscriber = getattr(sys.modules.get(_MODULE), _CLASS, None)
    code = getattr(getattr(subscriber, _READS, None), "__code__", None)
    task = asyncio.current_task()
    if code is None or task is None or getattr(task.get_coro(), "cr_code", None) is not code:
        return False
    return _instrument(subscriber)


def _instrument(subscriber: Any) -> bool:  # noqa: ANN401 - FastStream is not imported here
    global _original  # noqa: PLW0603 - one class is wrapped, once
    if _original is None:
        _original = getattr(subscriber, _HANDLES, None)
        if _original is None:
            return False
        setattr(subscriber, _HANDLES, _handling(_original))
    return True


def uninstrument() -> None:
    """Take the wrapper off."""
    global _original  # noqa: PLW0603 - as above
    if _original is not None:
        setattr(getattr(sys.modules[_MODULE], _CLASS), _HANDLES, _original)
        _original = None


def _handling(original: Any) -> Any:  # noqa: ANN401 - as above
    @functools.wraps(original)
    async def process_message(self: Any, msg: Any) -> Any:  # noqa: ANN401 - as above
        if not current().active or _has_own_telemetry(self):
            return await original(self, msg)
        alone = isinstance(msg, Sequence) and not hasattr(msg, "topic") and len(msg) == 1
        with process(msg[0] if alone else msg, group=getattr(self, "group_id", None)):
            return await original(self, msg)

    return process_message


def _has_own_telemetry(subscriber: Any) -> bool:  # noqa: ANN401 - as above
    middleware = getattr(sys.modules.get("faststream.opentelemetry"), "TelemetryMiddleware", None)
    found = getattr(subscriber, "_broker_middlewares", ())
    return middleware is not None and any(isinstance(each, middleware) for each in found)
