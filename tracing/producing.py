"""`AIOKafkaProducer.send`: one PRODUCER span for each message, open until the broker has answered.

The span starts before the client does anything, its context goes into a copy of the headers, and it ends when the
future that `send` returned is done: acknowledged, failed or cancelled. `send_and_wait` calls `send`, so wrapping one
covers both. Serialisers and the partitioner run in the client alone; the partition is known from the acknowledgement.
"""

from __future__ import annotations

import functools
import inspect
from asyncio import CancelledError, Future
from collections.abc import Awaitable, Callable
from time import time_ns
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import Span, SpanKind

from tracing import faults, semconv
from tracing.binding import with_bound
from tracing.messages import capture
from tracing.options import ProduceHook
from tracing.routes import Route
from tracing.spans import record_error, suppressed
from tracing.telemetry import Telemetry

Send = Callable[..., Awaitable[Any]]


class Sending:
    """A message, or a batch of `count`, on its way to the broker; called with the future of its acknowledgement."""

    __slots__ = ("_count", "_partition", "_route", "_started", "_telemetry", "span")

    def __init__(
        self, telemetry: Telemetry, route: Route, span: Span, started: int, partition: int | None, count: int = 1
    ) -> None:
        self._telemetry = telemetry
        self._route = route
        self.span = span
        self._started = started
        self._partition = partition
        self._count = count

    def __call__(self, future: Future[Any]) -> None:
        try:
            if future.cancelled():
                self.fail(CancelledError())
                return
            # Not future.exception(): that would tell asyncio that somebody has seen the error.
            error: BaseException | None = future._exception  # type: ignore[attr-defined]  # noqa: SLF001 - see above
            if error is None:
                self._succeed(future.result())
            else:
                self.fail(error)
        except Exception as error:  # noqa: BLE001 - a callback's error would land in the caller's loop handler
            faults.report("ending a send span", error)

    def watch(self, future: Any) -> None:
        """End the span when the future is done."""
        try:
            future.add_done_callback(self)
        except Exception as error:  # noqa: BLE001 - a stand-in for a producer may return anything
            faults.report("watching a send", error)
            self._end(None)

    def _succeed(self, metadata: Any) -> None:
        if metadata is not None:  # acks=0 brings no answer
            self._partition = metadata.partition
            if self.span.is_recording():
                self.span.set_attributes(
                    {
                        semconv.MESSAGING_DESTINATION_PARTITION_ID: str(metadata.partition),
                        semconv.MESSAGING_KAFKA_OFFSET: metadata.offset,
                    }
                )
        self._end(None)

    def fail(self, error: BaseException) -> None:
        """End the span with an error."""
        try:
            self._end(record_error(self.span, error))
        except Exception as fault:  # noqa: BLE001 - the caller shall see its own error and no other
            faults.report("ending a send span", fault)

    def _end(self, error: str | None) -> None:
        ended = time_ns()
        self.span.end(ended)
        metrics = self._telemetry.metrics
        if metrics.enabled:
            labels = self._route.labels_of(self._partition)
            metrics.operation(labels, ended - self._started, error)
            metrics.sent(labels, self._count, error)


def begin(
    telemetry: Telemetry, producer: Any, topic: str, value: Any, key: Any, partition: int | None, headers: Any
) -> tuple[Any, Sending | None]:
    """Start a send: return the headers to send with, and what must hear of its end, if anything must."""
    try:
        context = get_current()
        if not telemetry.active or suppressed(context):
            return headers, None
        client = telemetry.client(producer)
        route = client.routes.get(semconv.SEND, topic)
        links = ()
        if client.transaction is not None:
            context, links = client.transaction.adopt(context)
        parent = trace.get_current_span(context)
        measured = route.traced and telemetry.metrics.enabled
        if not route.traced or telemetry.spans.drops(parent.get_span_context()):
            written = telemetry.propagation.inject(headers, context)
            return written, Sending(telemetry, route, trace.INVALID_SPAN, time_ns(), partition) if measured else None
        attributes = _attributes(telemetry, route, producer, context, value, key, partition, headers)
        started = time_ns()
        span = telemetry.spans.tracer.start_span(route.name, context, SpanKind.PRODUCER, attributes, links, started)
        written = telemetry.propagation.inject(headers, context, span.get_span_context())
        if not measured and not span.is_recording():
            return written, None
        return written, Sending(telemetry, route, span, started, partition)
    except Exception as error:  # noqa: BLE001 - the message goes out untraced rather than not at all
        faults.report("starting a send span", error)
        return headers, None


def _attributes(
    telemetry: Telemetry,
    route: Route,
    producer: Any,
    context: Context,
    value: Any,
    key: Any,
    partition: int | None,
    headers: Any,
) -> dict[str, Any]:
    attributes = route.attributes.copy()
    if partition is not None:
        attributes[semconv.MESSAGING_DESTINATION_PARTITION_ID] = str(partition)
    if key is not None and (rendered := telemetry.render_key(key)) is not None:
        attributes[semconv.MESSAGING_KAFKA_MESSAGE_KEY] = rendered
    # A serialiser may well make bytes of None, and it is not ours to call.
    if value is None and getattr(producer, "_value_serializer", None) is None:
        attributes[semconv.MESSAGING_KAFKA_MESSAGE_TOMBSTONE] = True
    if telemetry.captured_headers:
        capture(attributes, headers, telemetry.captured_headers)
    return with_bound(attributes, context)


def wrap_send(original: Send, telemetry: Telemetry) -> Send:
    """Return `send` with a span around it."""
    if telemetry.options.produce_hook is not None:
        return _wrap_send_with_hook(original, telemetry, telemetry.options.produce_hook)

    @functools.wraps(original)
    async def send(
        self: Any,
        topic: str,
        value: Any = None,
        key: Any = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Any = None,
    ) -> Any:
        written, sending = begin(telemetry, self, topic, value, key, partition, headers)
        if sending is None:
            return await original(self, topic, value, key, partition, timestamp_ms, written)
        try:
            future = await original(self, topic, value, key, partition, timestamp_ms, written)
        except BaseException as error:
            sending.fail(error)
            raise
        sending.watch(future)
        return future

    return send


def _wrap_send_with_hook(original: Send, telemetry: Telemetry, hook: ProduceHook) -> Send:
    @functools.wraps(original)
    async def send(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            topic, value, key, partition, _, headers = _send_arguments(*args, **kwargs)
        except TypeError:
            return await original(self, *args, **kwargs)
        # As contrib hands the call to a hook: headers by name, where the hook may add to the list.
        args = args[:5]
        kwargs["headers"], sending = begin(telemetry, self, topic, value, key, partition, headers)
        try:
            if telemetry.active:
                await _run_hook(hook, sending, args, kwargs)
            future = await original(self, *args, **kwargs)
        except BaseException as error:
            if sending is not None:
                sending.fail(error)
            raise
        if sending is not None:
            sending.watch(future)
        return future

    return send


def _send_arguments(
    topic: str,
    value: Any = None,
    key: Any = None,
    partition: int | None = None,
    timestamp_ms: int | None = None,
    headers: Any = None,
) -> tuple[str, Any, Any, int | None, int | None, Any]:
    return topic, value, key, partition, timestamp_ms, headers


async def _run_hook(hook: ProduceHook, sending: Sending | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    try:
        result = hook(sending.span if sending is not None else trace.INVALID_SPAN, args, kwargs)
        if inspect.isawaitable(result):
            await result
    except Exception as error:  # noqa: BLE001 - a hook must not cost a message
        faults.report("a produce hook", error)
