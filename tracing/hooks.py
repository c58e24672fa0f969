"""The hooks of `instrument()`, called as contrib calls them: with the operation's span current.

A consume hook also finds the message's baggage, and the message's own context where the span is none. It runs before
the receive returns as far as it does not wait; nothing is awaited between the client's return and the caller's, because
a cancellation there would lose records. A hook that waits goes on in a task, and the span ends when it is done, with
the time of the return.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Iterator, Sequence
from typing import Any, Final

from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import Span

from tracing import eager, faults
from tracing.messages import Record
from tracing.options import ConsumeHook, ProduceHook
from tracing.scope import leave
from tracing.telemetry import Telemetry
from tracing.wire import with_span

#: Seconds that the asynchronous hooks of one poll may take before its span ends without them.
_TIMEOUT_S: Final = 10.0


async def produce(hook: ProduceHook, span: Span, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Call a produce hook, and wait for it."""
    try:
        inside = _with(span, get_current())
        token = attach(inside)
        try:
            result = hook(span, args, kwargs)
            if inspect.isawaitable(result):
                await result
        finally:
            leave(token, inside)
    except Exception as error:  # noqa: BLE001 - a hook must not cost a message
        faults.report("a produce hook", error)


def _with(span: Span, context: Context) -> Context:
    """Return a context of one's own with the span, if there is one, as the current one."""
    return with_span(span, context) if span.get_span_context().is_valid else Context(context)


class Consumption:
    """The calls of a consume hook for the records of one poll."""

    __slots__ = ("_args", "_ended", "_hook", "_kwargs", "_records", "_span", "_telemetry")

    def __init__(  # noqa: PLR0913, PLR0917 - all that a hook is given
        self,
        telemetry: Telemetry,
        hook: ConsumeHook,
        span: Span,
        records: Sequence[Record],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        ended: int,
    ) -> None:
        self._telemetry = telemetry
        self._hook = hook
        self._span = span
        self._records: Iterator[Record] = iter(records)
        self._args = args
        self._kwargs = kwargs
        self._ended = ended

    def run(self) -> None:
        """Call the hook for each record, and end the span after the last; what has to wait goes on as a task."""
        for record in self._records:
            inside = self._context(record)
            waiting = self._call(record, inside)
            if waiting is not None:
                task = eager.begin(self._go_on(waiting, inside))
                self._telemetry.background.add(task)
                task.add_done_callback(self._telemetry.background.discard)
                return
        self._span.end(self._ended)

    def _context(self, record: Record) -> Context:
        context = get_current()
        try:
            context = self._telemetry.propagation.extract(record.headers, context)[0]
        except Exception as error:  # noqa: BLE001 - headers that are not pairs, or a foreign propagator
            faults.report("reading trace context", error)
        return _with(self._span, context)

    def _call(self, record: Record, inside: Context) -> Awaitable[None] | None:
        token = attach(inside)
        try:
            result = self._hook(self._span, record, self._args, self._kwargs)
            return result if inspect.isawaitable(result) else None
        except Exception as error:  # noqa: BLE001 - a hook must not cost a record
            faults.report("a consume hook", error)
            return None
        finally:
            leave(token, inside)

    async def _go_on(self, waiting: Awaitable[None], inside: Context) -> None:
        """Wait for the hook, and call it for the other records one after the other, within one time limit."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await self._wait(waiting, inside)
                for record in self._records:
                    inside = self._context(record)
                    result = self._call(record, inside)
                    if result is not None:
                        await self._wait(result, inside)
        except TimeoutError as error:
            faults.report("a consume hook", error)
        finally:
            self._span.end(self._ended)

    @staticmethod
    async def _wait(waiting: Awaitable[None], inside: Context) -> None:
        token = attach(inside)
        try:
            await waiting
        except Exception as error:  # noqa: BLE001 - a hook must not cost the next one its turn
            faults.report("a consume hook", error)
        finally:
            leave(token, inside)
