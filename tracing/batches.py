"""`create_batch` and `send_batch`: a context for each record, one send for all.

A record becomes bytes when it is appended to a batch, so its context goes in there. Each gets a `create` PRODUCER span,
a child of the span that is current at the append: one batch may carry messages of many traces. The topic is known only
when the batch is sent. Until then the spans stay open; then they take the topic's name and end, with the time at which
they were created. `send TOPIC` is a CLIENT span that links to them (messaging-spans.md, "Batch sending").

The create spans of a batch that is never sent do not end: nothing was sent, so nothing is exported.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from time import time_ns
from typing import Any, Final
from weakref import WeakKeyDictionary

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.trace import Link, Span, SpanKind

from tracing import faults, semconv
from tracing.binding import with_bound
from tracing.headers import Header
from tracing.messages import LINK_LIMIT
from tracing.producing import Acknowledgement, Sending
from tracing.routes import Routes
from tracing.spans import suppressed
from tracing.telemetry import Telemetry

SendBatch = Callable[..., Awaitable[Acknowledgement]]


class Creation:
    """The records of one batch builder; it stands in for the builder's `append` until the batch is sent."""

    __slots__ = ("_append", "_created", "_routes", "_telemetry")

    def __init__(self, telemetry: Telemetry, routes: Routes, append: Callable[..., Any]) -> None:
        self._telemetry = telemetry
        self._routes = routes
        self._append = append
        self._created: list[tuple[Span, int]] = []

    def append(self, *, timestamp: int | None, key: object, value: object, headers: Any = ()) -> object:  # noqa: ANN401
        """Add a message to the batch, with the context of its own create span."""
        written, span = self._start(key, headers)
        try:
            metadata = self._append(timestamp=timestamp, key=key, value=value, headers=written)
        except BaseException:
            self._reject(span)
            raise
        if metadata is None:
            self._reject(span)
        elif span is not None:
            self._created.append((span, time_ns()))
        return metadata

    def _start(self, key: object, headers: Any) -> tuple[list[Header], Span | None]:  # noqa: ANN401 - unchecked
        try:
            context = get_current()
            if not self._telemetry.active or suppressed(context):
                return _as_given(headers), None
            if self._telemetry.spans.drops(trace.get_current_span(context).get_span_context()):
                return self._telemetry.propagation.inject(headers, context), None
            attributes = self._routes.get(semconv.CREATE).attributes.copy()
            if key is not None and (rendered := self._telemetry.render_key(key)) is not None:
                attributes[semconv.MESSAGING_KAFKA_MESSAGE_KEY] = rendered
            with_bound(attributes, context)
            span = self._telemetry.spans.start(semconv.CREATE, context, SpanKind.PRODUCER, attributes)
            return self._telemetry.propagation.inject(headers, context, span.get_span_context()), span
        except Exception as error:  # noqa: BLE001 - the message goes out untraced rather than not at all
            faults.report("starting a create span", error)
            return _as_given(headers), None

    @staticmethod
    def _reject(span: Span | None) -> None:
        """End the span of a record that did not fit: it has started, but no message carries its context."""
        if span is not None:
            span.set_attribute(semconv.SAGATRACE_BATCH_FULL, True)  # noqa: FBT003 - the value of an attribute
            span.end()

    def sent_to(self, topic: str) -> list[Link]:
        """End the create spans under the topic's name and return the links to them."""
        route = self._routes.get(semconv.CREATE, topic)
        created, self._created = self._created, []
        for span, ended in created:
            # Also for a topic that is left out: the message carries the span's context, so the span must exist.
            span.update_name(route.name)
            span.set_attribute(semconv.MESSAGING_DESTINATION_NAME, topic)
            span.end(ended)
        return [Link(span.get_span_context()) for span, _ in created[:LINK_LIMIT]]


def _as_given(headers: Any) -> Any:  # noqa: ANN401 - unchecked
    return list(headers) if isinstance(headers, tuple) else headers


#: The creations of builders that were not sent yet.
_creations: Final[WeakKeyDictionary[BatchBuilder, Creation]] = WeakKeyDictionary()


def wrap_create_batch(original: Callable[..., BatchBuilder], telemetry: Telemetry) -> Callable[..., BatchBuilder]:
    """Return `create_batch` whose builder puts a context into each record."""

    @functools.wraps(original)
    def create_batch(self: AIOKafkaProducer) -> BatchBuilder:
        builder = original(self)
        try:
            if telemetry.active:
                creation = Creation(telemetry, telemetry.client(self).routes, builder.append)
                builder.append = creation.append  # type: ignore[method-assign]  # of this one object
                _creations[builder] = creation
        except Exception as error:  # noqa: BLE001 - the batch is built untraced rather than not at all
            faults.report("tracing a batch", error)
        return builder

    return create_batch


def _begin(
    telemetry: Telemetry, producer: AIOKafkaProducer, batch: BatchBuilder, topic: str, partition: int
) -> Sending | None:
    try:
        creation = _creations.pop(batch, None)
        if creation is not None:
            # From now on `send` may add messages of its own to the batch, which already have a context.
            del batch.append
        context = get_current()
        if not telemetry.active or suppressed(context):
            return None
        client = telemetry.client(producer)
        links = creation.sent_to(topic) if creation is not None else []
        route = client.routes.get(semconv.SEND, topic)
        if not route.traced:
            return None
        if client.transaction is not None:
            context, more = client.transaction.adopt(context)
            links = [*links[: LINK_LIMIT - len(more)], *more]
        count = batch.record_count()
        started = time_ns()
        if telemetry.spans.drops(trace.get_current_span(context).get_span_context()):
            return Sending(telemetry, route, trace.INVALID_SPAN, started=started, partition=partition, count=count)
        attributes = {
            **route.attributes,
            semconv.MESSAGING_BATCH_MESSAGE_COUNT: count,
            semconv.MESSAGING_DESTINATION_PARTITION_ID: str(partition),
        }
        span = telemetry.spans.start(route.name, context, SpanKind.CLIENT, attributes, links, started)
        return Sending(telemetry, route, span, started=started, partition=partition, count=count)
    except Exception as error:  # noqa: BLE001 - the batch goes out untraced rather than not at all
        faults.report("starting a send span", error)
        return None


def wrap_send_batch(original: SendBatch, telemetry: Telemetry) -> SendBatch:
    """Return `send_batch` with a span that lasts until the acknowledgement."""

    @functools.wraps(original)
    async def send_batch(self: AIOKafkaProducer, batch: BatchBuilder, topic: str, *, partition: int) -> Acknowledgement:
        sending = _begin(telemetry, self, batch, topic, partition)
        if sending is None:
            return await original(self, batch, topic, partition=partition)
        try:
            future = await original(self, batch, topic, partition=partition)
        except BaseException as error:
            sending.fail(error)
            raise
        sending.watch(future)
        return future

    return send_batch
