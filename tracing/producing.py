"""`AIOKafkaProducer.send`: one PRODUCER span for each message, open until the broker has answered.

The span starts before the client does anything, its context goes into a copy of the headers, and it ends when the
future that `send` returned is done: acknowledged, failed or cancelled. `send_and_wait` calls `send`, so wrapping `send`
covers both. Serialisers and the partitioner run only in the client; the partition is known from the acknowledgement.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from time import time_ns
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer
from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import Span, SpanKind
from opentelemetry.util.types import AttributeValue

from tracing import faults, hooks, semconv
from tracing.binding import with_bound
from tracing.headers import Header
from tracing.linking import links_in
from tracing.messages import capture
from tracing.options import ProduceHook
from tracing.room import lacking, left_out, without
from tracing.routes import Route
from tracing.sending import Acknowledgement, Sending
from tracing.spans import suppressed
from tracing.telemetry import Client, Telemetry

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
    links = links_in(context)
    if client.transaction is not None:
        context, begun_in = client.transaction.adopt(context)
        links += begun_in
    measured = route.traced and telemetry.metrics.enabled
    parent = trace.get_current_span(context).get_span_context()
    if not route.traced or telemetry.spans.drops(parent):
        untraced = trace.INVALID_SPAN
        headers = _inject(telemetry, client, message.headers, context, untraced)
        if not measured:
            return headers, None
        return headers, Sending(telemetry, route, untraced, started=time_ns(), partition=message.partition)
    attributes = _attributes(telemetry, route, producer, message)
    with_bound(attributes, context)
    name = route.name if route.named_by is None else route.name_of(attributes)
    started = time_ns()
    span = telemetry.spans.start(name, context, SpanKind.PRODUCER, attributes, links, started, parent)
    headers = _inject(telemetry, client, message.headers, context, span)
    if not measured and not span.is_recording():
        return headers, None
    return headers, Sending(telemetry, route, span, started=started, partition=message.partition)


def _inject(telemetry: Telemetry, client: Client, given: Any, context: Context, span: Span) -> Any:  # noqa: ANN401
    """Write the span's context, or the current one; anything but a list of headers is left for the client to refuse."""
    if given and type(given) is not list:
        return given
    try:
        headers = telemetry.propagation.inject(
            given, context, None if span is trace.INVALID_SPAN else span.get_span_context()
        )
    except Exception as error:  # noqa: BLE001 - the span is open and must see the client's own error
        faults.report("writing trace context", error)
        return given
    if client.claims is not None:
        client.claims.add(headers, given, span)
    return headers


def _attributes(
    telemetry: Telemetry, route: Route, producer: AIOKafkaProducer, message: SendArguments
) -> dict[str, AttributeValue]:
    attributes = route.attributes.copy()
    if message.partition is not None:
        attributes[semconv.MESSAGING_DESTINATION_PARTITION_ID] = str(message.partition)
    if message.key is not None and (key := telemetry.render_key(message.key)) is not None:
        attributes[telemetry.names.message_key] = key
    # A serialiser may turn None into bytes, and only the client may call it.
    if message.value is None and getattr(producer, "_value_serializer", None) is None:
        attributes[telemetry.names.tombstone] = True
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
        try:
            future = await original(self, topic, value, key, partition, timestamp_ms, headers)
        except BaseException as error:
            if headers is message.headers or not _lacks_room(telemetry, self, headers, error):
                if sending is not None:
                    sending.fail(error)
                raise
        else:
            if sending is not None:
                sending.watch(future)
            return future
        return await _send_without(sending, original(self, *message))

    return send


def _lacks_room(telemetry: Telemetry, producer: AIOKafkaProducer, headers: object, error: BaseException) -> bool:
    """Return whether a send with a context is to be repeated without it."""
    return lacking(error, telemetry.client(producer).claims, headers)


async def _send_without(sending: Sending | None, call: Awaitable[Acknowledgement]) -> Acknowledgement:
    """Send a message that had no room for its context."""
    try:
        future = await call
    except BaseException as error:
        if sending is not None:
            sending.fail(error)
        raise
    if sending is not None:
        left_out(sending.span)
        sending.watch(future)
    return future


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
        headers = kwargs["headers"]
        written = tuple(headers) if type(headers) is list else ()
        try:
            await hooks.produce(hook, trace.INVALID_SPAN if sending is None else sending.span, args, kwargs)
            future = await original(self, *args, **kwargs)
        except BaseException as error:
            if headers is message.headers or not _lacks_room(telemetry, self, headers, error):
                if sending is not None:
                    sending.fail(error)
                raise
        else:
            if sending is not None:
                sending.watch(future)
            return future
        kwargs["headers"] = without(message.headers, written, kwargs["headers"])
        return await _send_without(sending, original(self, *args, **kwargs))

    return send


def _message(args: tuple[Any, ...], kwargs: dict[str, Any]) -> SendArguments | None:
    """Return the arguments of a call; None if they do not fit, for the client to refuse them."""
    try:
        return SendArguments(*args, **kwargs)
    except TypeError:
        return None
