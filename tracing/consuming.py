"""`AIOKafkaConsumer.getone` and `getmany`: a `poll` CLIENT span with a link to each message, and the real wait.

The span is started after the call has returned, with the time at which it began: the messages are known only then, and
samplers see only the links that a span starts with. `async for` calls `getone`. Rules:

- a poll that brought nothing, was cancelled or ended by `stop()` has no span; one that raised has one with the error;
- the provider keeps so many links a span, 128 by default, and drops the rest, so a larger poll is several spans side by
  side;
- a poll of unsampled messages outside any span is not recorded: its trace would contain nothing else;
- nothing is awaited between the client's return and the caller's, because a cancellation there would lose records; what
  becomes of an asynchronous hook is in `hooks`.
"""

from __future__ import annotations

import functools
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain, islice
from time import time_ns
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError
from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.trace import Link, Span, SpanContext, SpanKind
from opentelemetry.util.types import AttributeValue

from tracing import faults, semconv
from tracing.hooks import Consumption
from tracing.messages import Record, describe
from tracing.routes import Route, Routes
from tracing.spans import error_type, record_error, suppressed
from tracing.telemetry import Telemetry

Received = ConsumerRecord[Any, Any]
GetOne = Callable[..., Awaitable[Received]]
GetMany = Callable[..., Awaitable[dict[TopicPartition, list[Received]]]]

#: The most links of a poll span, also where the provider keeps more: what shows a span shows no thousands of links.
_LINKS: Final = 128
#: Nanoseconds; a receive that took less time found its message prefetched.
WAITED: Final = 100_000


class Poll:
    """One call that receives: its consumer, its arguments and its start."""

    __slots__ = ("_args", "_consumer", "_ended", "_kwargs", "_started", "_telemetry")

    def __init__(
        self,
        telemetry: Telemetry,
        consumer: AIOKafkaConsumer,
        args: tuple[TopicPartition, ...],
        kwargs: dict[str, Any],
        started: int,
    ) -> None:
        self._telemetry = telemetry
        self._consumer = consumer
        self._args = args
        self._kwargs = kwargs
        self._started = started

    def received_one(self, record: Record) -> None:
        """Trace and count the record of a `getone`."""
        self._ended = time_ns()
        try:
            telemetry = self._telemetry
            metrics = telemetry.metrics
            wanted = self._wanted(spared=telemetry.spares_getone)
            if not wanted and not metrics.enabled and telemetry.options.consume_hook is None:
                return
            route = self._routes.get(semconv.POLL, record.topic)
            if not route.traced:
                return
            if metrics.enabled:
                labels = route.labels_of(record.partition)
                metrics.operation(labels, self._ended - self._started)
                metrics.consumed(labels, 1)
            span = self._start_single(route, record) if wanted else trace.INVALID_SPAN
            self._finish(span, (record,))
        except Exception as error:  # noqa: BLE001 - the caller gets the record, whatever became of its span
            faults.report("tracing a poll", error)

    def received_many(self, records: Mapping[TopicPartition, Sequence[Record]]) -> None:
        """Trace and count the records of a `getmany`."""
        self._ended = time_ns()
        try:
            traced = {
                tp: batch for tp, batch in records.items() if batch and self._routes.get(semconv.POLL, tp.topic).traced
            }
            if not traced:
                return
            if self._telemetry.metrics.enabled:
                self._measure(traced)
            messages = chain.from_iterable(traced.values())
            # A provider that keeps no links keeps none of several spans either.
            size = min(self._telemetry.spans.link_limit, _LINKS) or _LINKS
            while chunk := list(islice(messages, size)):
                self._finish(self._start_batch(chunk), chunk)
        except Exception as error:  # noqa: BLE001 - as above
            faults.report("tracing a poll", error)

    def failed(self, error: BaseException) -> None:
        """Trace a receive that raised: an error of the client, or a value that could not be deserialised."""
        self._ended = time_ns()
        try:
            topics = {tp.topic for tp in self._args or self._consumer.assignment()}
            route = self._routes.get(semconv.POLL, *sorted(topics))
            if not route.traced:
                return
            if self._telemetry.options.poll_spans and not self._dropped():
                span = self._start(route.name, route.attributes.copy(), ())
                record_error(span, error)
                span.end(self._ended)
            if self._telemetry.metrics.enabled:
                self._telemetry.metrics.operation(route.labels_of(None), self._ended - self._started, error_type(error))
        except Exception as fault:  # noqa: BLE001 - the caller must see its own error and no other
            faults.report("tracing a failed poll", fault)

    @property
    def _routes(self) -> Routes:
        return self._telemetry.client(self._consumer).routes

    def _measure(self, records: Mapping[TopicPartition, Sequence[Record]]) -> None:
        metrics = self._telemetry.metrics
        for tp, batch in records.items():
            metrics.consumed(self._routes.get(semconv.POLL, tp.topic).labels_of(tp.partition), len(batch))
        route = self._routes.get(semconv.POLL, *sorted({tp.topic for tp in records}))
        partition = next(iter(records)).partition if len(records) == 1 else None
        metrics.operation(route.labels_of(partition), self._ended - self._started)

    def _start_single(self, route: Route, record: Record) -> Span:
        context = self._telemetry.propagation.span_context(record.headers)
        if not _worth_a_span((context,)):
            return trace.INVALID_SPAN
        attributes = route.attributes.copy()
        describe(attributes, record, self._telemetry)
        return self._start(route.name, attributes, () if context is None else (Link(context),))

    def _start_batch(self, chunk: Sequence[Record]) -> Span:
        if not self._wanted(spared=self._telemetry.spares_getmany):
            return trace.INVALID_SPAN
        read = self._telemetry.propagation.span_context
        contexts = [read(record.headers) for record in chunk]
        if not _worth_a_span(contexts):
            return trace.INVALID_SPAN
        topics = sorted({record.topic for record in chunk})
        route = self._routes.get(semconv.POLL, *topics)
        attributes = route.attributes.copy()
        attributes[semconv.MESSAGING_BATCH_MESSAGE_COUNT] = len(chunk)
        partitions = {record.partition for record in chunk}
        if len(topics) == 1 and len(partitions) == 1:
            attributes[semconv.MESSAGING_DESTINATION_PARTITION_ID] = str(partitions.pop())
        # Without attributes, which would cost a third of the span: the send span at the other end has them.
        links = [Link(context) for context in contexts if context is not None]
        return self._start(route.name, attributes, links)

    def _start(self, name: str, attributes: dict[str, AttributeValue], links: Sequence[Link]) -> Span:
        return self._telemetry.spans.start(name, None, SpanKind.CLIENT, attributes, links, self._started)

    def _wanted(self, *, spared: bool) -> bool:
        """Return whether there may be a span, as far as that is known before any header is read.

        Args:
            spared: whether a receive that found its messages prefetched has no span.
        """
        if spared and self._ended - self._started < WAITED:
            return False
        return self._telemetry.options.poll_spans is not False and not self._dropped()

    def _dropped(self) -> bool:
        return self._telemetry.spans.drops(trace.get_current_span().get_span_context())

    def _finish(self, span: Span, records: Sequence[Record]) -> None:
        hook = self._telemetry.options.consume_hook
        if hook is None:
            span.end(self._ended)
        else:
            Consumption(self._telemetry, hook, span, records, self._args, self._kwargs, ended=self._ended).run()


def _worth_a_span(contexts: Sequence[SpanContext | None]) -> bool:
    """Return whether a poll of these messages belongs to any trace: to one of theirs, or to the caller's."""
    for context in contexts:
        if context is not None and context.trace_flags & 1:
            return True
    return not any(contexts) or trace.get_current_span().get_span_context().is_valid


def _watched(telemetry: Telemetry) -> bool:
    try:
        return telemetry.active and not suppressed(get_current())
    except Exception as error:  # noqa: BLE001 - records are received untraced rather than not at all
        faults.report("tracing a poll", error)
        return False


def _unnoticed(telemetry: Telemetry, started: int) -> bool:
    """Return whether a `getone` that has returned needs no span, metric or hook: its record was prefetched."""
    try:
        return (
            telemetry.spares_getone
            and time_ns() - started < WAITED
            and not telemetry.metrics.enabled
            and telemetry.options.consume_hook is None
        )
    except Exception as error:  # noqa: BLE001 - the record has left the client and would be lost
        faults.report("tracing a poll", error)
        return True


def wrap_getone(original: GetOne, telemetry: Telemetry) -> GetOne:
    """Return `getone` with a span for each message."""

    @functools.wraps(original)
    async def getone(self: AIOKafkaConsumer, *partitions: TopicPartition) -> Received:
        if not _watched(telemetry):
            return await original(self, *partitions)
        started = time_ns()
        try:
            record = await original(self, *partitions)
        except (CancelledError, ConsumerStoppedError):
            raise
        except Exception as error:
            Poll(telemetry, self, partitions, {}, started).failed(error)
            raise
        if not _unnoticed(telemetry, started):
            Poll(telemetry, self, partitions, {}, started).received_one(record)
        return record

    return getone


def wrap_getmany(original: GetMany, telemetry: Telemetry) -> GetMany:
    """Return `getmany` with a span for each call that brought messages."""

    @functools.wraps(original)
    async def getmany(
        self: AIOKafkaConsumer,
        *partitions: TopicPartition,
        **kwargs: Any,  # noqa: ANN401 - passed on
    ) -> dict[TopicPartition, list[Received]]:
        if not _watched(telemetry):
            return await original(self, *partitions, **kwargs)
        poll = Poll(telemetry, self, partitions, kwargs, time_ns())
        try:
            records = await original(self, *partitions, **kwargs)
        except (CancelledError, ConsumerStoppedError):
            raise
        except Exception as error:
            poll.failed(error)
            raise
        if records:
            poll.received_many(records)
        return records

    return getmany
