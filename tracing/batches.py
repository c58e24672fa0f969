"""`create_batch` and `send_batch`: a context for each record, one send for all.

Each record gets a `create` PRODUCER span, a child of the span that is current at the append: one batch may carry
messages of many traces. The topic is known only when the batch is sent. Until then the spans stay open; then they take
the topic's name and end, with the time at which they were created. `send TOPIC` is a CLIENT span that links to them
(messaging-spans.md, "Batch sending"). `creation` writes the contexts.

The create spans of a batch that is never sent do not end: nothing was sent, so nothing is exported.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from time import time_ns

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.trace import Link, SpanKind

from tracing import faults, semconv
from tracing.creation import Creation
from tracing.sending import Acknowledgement, Sending
from tracing.spans import suppressed
from tracing.telemetry import Telemetry

SendBatch = Callable[..., Awaitable[Acknowledgement]]


def wrap_create_batch(original: Callable[..., BatchBuilder], telemetry: Telemetry) -> Callable[..., BatchBuilder]:
    """Return `create_batch` whose builder puts a context into each record."""

    @functools.wraps(original)
    def create_batch(self: AIOKafkaProducer) -> BatchBuilder:
        builder = original(self)
        try:
            if telemetry.active:
                Creation(telemetry, telemetry.client(self).routes, builder)
        except Exception as error:  # noqa: BLE001 - the batch is built untraced rather than not at all
            faults.report("tracing a batch", error)
        return builder

    return create_batch


def _begin(
    telemetry: Telemetry, producer: AIOKafkaProducer, batch: BatchBuilder, topic: str, partition: int
) -> Sending | None:
    try:
        creation = Creation.of(batch)
        if creation is not None:
            creation.release(batch)
        context = get_current()
        if not telemetry.active or suppressed(context):
            return None
        client = telemetry.client(producer)
        links: list[Link] = []
        if creation is not None:
            creation.write(batch, producer)
            links = [Link(created) for created in creation.sent_to(topic)]
        route = client.routes.get(semconv.SEND, topic)
        if not route.traced:
            return None
        if client.transaction is not None:
            context, more = client.transaction.adopt(context)
            links = [*more, *links]
        links = links[: telemetry.spans.link_limit]
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
