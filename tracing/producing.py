"""`AIOKafkaProducer.send`: one PRODUCER span for each message, open until the broker has answered.

The span starts before the client does anything, its context goes into a copy of the headers, and it ends when the
future that `send` returned is done: acknowledged, failed or cancelled. `send_and_wait` calls `send`, so wrapping `send`
covers both. Serialisers and the partitioner run only in the client; the partition is known from the acknowledgement.
"""

from __future__ import annotations

import functools
import inspect
from asyncio import CancelledError, Future
from collections.abc import Awaitable, Callable
from time import time_ns
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata
from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import Link, Span, SpanKind
from opentelemetry.util.types import AttributeValue

from tracing import faults, semconv
from tracing.binding import with_bound
from tracing.headers import Header
from tracing.messages import capture
from tracing.options import ProduceHook
from tracing.routes import Route
from tracing.spans import record_error, suppressed
from tracing.telemetry import Telemetry

Acknowledgement = Future[RecordMetadata | None]
Send = Callable[..., Awaitable[Acknowledgement]]

#: Positional arguments of `send` before the headers.
_BEFORE_HEADERS: Final = 5


class SendArguments(NamedTuple):
    """The arguments of a call of `send`, with its own names and defaults."""

    topic: str
    value: object = None
    key: object = None
    partition: int | None = None
    timestamp_ms: int | None = None
    headers: Any = None


class Sending:
    """A message, or a batch of `count`, on its way to the broker; it is called with the acknowledgement's future."""

    __slots__ = ("_count", "_partition", "_route", "_started", "_telemetry", "span")

    def __init__(  # noqa: PLR0913 - all of it is needed at the end
        self, telemetry: Telemetry, route: Route, span: Span, *, started: int, partition: int | None, count: int = 1
    ) -> None:
        self._telemetry = telemetry
        self._route = route
        self.span = span
        self._started = started
        self._partition = partition
        self._count = count

    def watch(self, future: Acknowledgement) -> None:
        """End the span when the future is done; a callback added now runs before the caller continues."""
        try:
            future.add_done_callback(self)
        except Exception as error:  # noqa: BLE001 - a stand-in for a producer may return anything
            faults.report("watching a send", error)
            self._end(None)

    def __call__(self, future: Acknowledgement) -> None:
        """End the span with the message's outcome."""
        try:
            if future.cancelled():
                self.fail(CancelledError())
                return
            # Not future.exception(): asyncio would then take the error as handled.
            error: BaseException | None = getattr(future, "_exception", None)
            if error is None:
                self._succeed(future.result())
            else:
                self.fail(error)
        except Exception as fault:  # noqa: BLE001 - an error here would reach the exception handler of the caller's loop
            faults.report("ending a send span", fault)
            if self.span.is_recording():
                self.span.end()

    def _succeed(self, metadata: RecordMetadata | None) -> None:
        if metadata is not None:  # with acks=0 there is no answer
            span = self.span
            if span.is_recording():
                # One by one, which for so few is faster in the SDK than a mapping.
                span.set_attribute(semconv.MESSAGING_KAFKA_OFFSET, metadata.offset)
                if metadata.partition != self._partition:
                    span.set_attribute(semconv.MESSAGING_DESTINATION_PARTITION_ID, str(metadata.partition))
            self._partition = metadata.partition
        self._end(None)

    def fail(self, error: BaseException) -> None:
        """End the span with an error."""
        try:
            self._end(record_error(self.span, error))
        except Exception as fault:  # noqa: BLE001 - the caller must see its own error and no other
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
    telemetry: Telemetry, producer: AIOKafkaProducer, message: SendArguments
) -> tuple[list[Header] | None, Sending | None]:
    """Start a send: return the headers to send, and the `Sending` to end, or None if there is nothing to record."""
    try:
        context = get_current()
        if not telemetry.active or suppressed(context):
            return message.headers, None
        return _begin(telemetry, producer, message, context)
    except Exception as error:  # noqa: BLE001 - the message goes out untraced rather than not at all
        faults.report("starting a send span", error)
        return message.headers, None


def _begin(
    telemetry: Telemetry, producer: AIOKafkaProducer, message: SendArguments, context: Context
) -> tuple[list[Header] | None, Sending | None]:
    client = telemetry.client(producer)
    route = client.routes.get(semconv.SEND, message.topic)
    links: tuple[Link, ...] = ()
    if client.transaction is not None:
        context, links = client.transaction.adopt(context)
    measured = route.traced and telemetry.metrics.enabled
    parent = trace.get_current_span(context).get_span_context()
    if not route.traced or telemetry.spans.drops(parent):
        headers = telemetry.propagation.inject(message.headers, context)
        if not measured:
            return headers, None
        untraced = trace.INVALID_SPAN
        return headers, Sending(telemetry, route, untraced, started=time_ns(), partition=message.partition)
    attributes = _attributes(telemetry, route, producer, message)
    with_bound(attributes, context)
    started = time_ns()
    span = telemetry.spans.start(route.name, context, SpanKind.PRODUCER, attributes, links, started, parent)
    headers = _inject(telemetry, message.headers, context, span)
    if not measured and not span.is_recording():
        return headers, None
    return headers, Sending(telemetry, route, span, started=started, partition=message.partition)


def _inject(telemetry: Telemetry, headers: Any, context: Context, span: Span) -> list[Header]:  # noqa: ANN401 - unchecked
    """Write the span's context; anything but a list of headers is left for the client to refuse."""
    try:
        return telemetry.propagation.inject(headers, context, span.get_span_context())
    except Exception as error:  # noqa: BLE001 - the span is open and must see the client's own error
        faults.report("writing trace context", error)
        return headers  # type: ignore[no-any-return]  # unchecked


def _attributes(
    telemetry: Telemetry, route: Route, producer: AIOKafkaProducer, message: SendArguments
) -> dict[str, AttributeValue]:
    attributes = route.attributes.copy()
    if message.partition is not None:
        attributes[semconv.MESSAGING_DESTINATION_PARTITION_ID] = str(message.partition)
    if message.key is not None and (key := telemetry.render_key(message.key)) is not None:
        attributes[semconv.MESSAGING_KAFKA_MESSAGE_KEY] = key
    # A serialiser may turn None into bytes, and only the client may call it.
    if message.value is None and getattr(producer, "_value_serializer", None) is None:
        attributes[semconv.MESSAGING_KAFKA_MESSAGE_TOMBSTONE] = True
    if telemetry.captured_headers:
        capture(attributes, message.headers, telemetry.captured_headers)
    return attributes


def wrap_send(original: Send, telemetry: Telemetry) -> Send:
    """Return `send` with a span around it."""
    if telemetry.options.produce_hook is not None:
        return _wrap_send_with_hook(original, telemetry, telemetry.options.produce_hook)

    @functools.wraps(original)
    async def send(  # noqa: PLR0913, PLR0917 - aiokafka's signature
        self: AIOKafkaProducer,
        topic: str,
        value: object = None,
        key: object = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Any = None,  # noqa: ANN401 - unchecked
    ) -> Acknowledgement:
        message = SendArguments(topic, value, key, partition, timestamp_ms, headers)
        headers, sending = begin(telemetry, self, message)
        if sending is None:
            return await original(self, topic, value, key, partition, timestamp_ms, headers)
        try:
            future = await original(self, topic, value, key, partition, timestamp_ms, headers)
        except BaseException as error:
            sending.fail(error)
            raise
        sending.watch(future)
        return future

    return send


def _wrap_send_with_hook(original: Send, telemetry: Telemetry, hook: ProduceHook) -> Send:
    """Return `send` that passes each call to a hook, as contrib does.

    The headers are a keyword argument, a list of this call's own, to which the hook may add.
    """

    @functools.wraps(original)
    async def send(self: AIOKafkaProducer, *args: Any, **kwargs: Any) -> Acknowledgement:  # noqa: ANN401 - as called
        if not telemetry.active or suppressed(get_current()) or (message := _message(args, kwargs)) is None:
            return await original(self, *args, **kwargs)
        args = args[:_BEFORE_HEADERS]
        kwargs["headers"], sending = begin(telemetry, self, message)
        try:
            await _run_hook(hook, trace.INVALID_SPAN if sending is None else sending.span, args, kwargs)
            future = await original(self, *args, **kwargs)
        except BaseException as error:
            if sending is not None:
                sending.fail(error)
            raise
        if sending is not None:
            sending.watch(future)
        return future

    return send


def _message(args: tuple[Any, ...], kwargs: dict[str, Any]) -> SendArguments | None:
    """Return the arguments of a call; None if they do not fit, for the client to refuse them."""
    try:
        return SendArguments(*args, **kwargs)
    except TypeError:
        return None


async def _run_hook(hook: ProduceHook, span: Span, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    try:
        result = hook(span, args, kwargs)
        if inspect.isawaitable(result):
            await result
    except Exception as error:  # noqa: BLE001 - a hook must not cost a message
        faults.report("a produce hook", error)
