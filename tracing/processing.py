"""`tracing.process`: the CONSUMER span around a handler, current inside.

Parent and links (messaging-spans.md, "Consumer spans"; the choice is the one that keeps an order one trace):

- one record: the parent is the context in its headers, and the span also links to it; a recording span that was
  current becomes a further link (`link.type=ambient`). Without a context in the headers the current span is the parent.
  With the option `process_parent="ambient"` the current span is always the parent, and the message only a link.
- a list of records: the parent is the current span, each message is a link; no message's trace is continued.

A handler that raises sets status and `error.type`, and the exception propagates. Nothing stays attached between calls:
the former context is back on exit, also where a generator is left by `break` (see `scope`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextvars import Token
from itertools import islice
from time import time_ns
from types import TracebackType
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context, attach, create_key, get_current, set_value
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind
from opentelemetry.util.types import AttributeValue

from tracing import faults, semconv
from tracing.binding import clean, with_bound
from tracing.delivery import AT_HAND, Together, unfinished
from tracing.messages import Record, describe, link_attributes
from tracing.propagation import extract_onto
from tracing.routes import Route
from tracing.scope import leave
from tracing.spans import record_error, record_frames, suppressed
from tracing.telemetry import current
from tracing.wire import with_span

_PROCESSING: Final = create_key("sagatrace-processing")
_AMBIENT: Final[Mapping[str, AttributeValue]] = {semconv.LINK_TYPE: semconv.LINK_AMBIENT}
_MILLISECOND: Final = 1_000_000
_SECOND: Final = 1e9


class Processing:
    """The context manager that `process` returns."""

    __slots__ = (
        "_attributes",
        "_error",
        "_group",
        "_inner",
        "_links",
        "_measured",
        "_record",
        "_records",
        "_route",
        "_single",
        "_span",
        "_started",
        "_taken",
        "_telemetry",
        "_token",
        "owned",
    )

    def __init__(
        self,
        record: Record | Sequence[Record],
        group: str | None,
        links: Sequence[Link],
        attributes: Mapping[str, object] | None,
    ) -> None:
        self._record = record
        self._group = group
        self._links = links
        self._attributes = attributes
        self._telemetry = current()
        self._span: Span = trace.INVALID_SPAN
        self._token: Token[Context] | None = None
        #: What a loop has begun for the same record, and this goes on with.
        self._taken: Processing | None = None
        #: Set if a span or a metric is to be ended; `open` sets everything that this needs.
        self._route: Route | None = None

    def __enter__(self) -> Span:
        try:
            context = get_current()
            if not suppressed(context):
                if self._telemetry.loops:
                    self._take()
                    context = get_current()
                self._inner = inside = self.open(context)
                self._token = attach(inside)
        except Exception as error:  # noqa: BLE001 - the handler runs untraced rather than not at all
            faults.report("starting a process span", error)
        return self._span

    def _take(self) -> None:
        """Go on with what a loop has begun for the record; what it has begun for one of several ends."""
        if isinstance(self._record, list):
            for record in list(self._record):
                if (delivery := unfinished(record)) is not None:
                    delivery.close()
        elif (delivery := unfinished(self._record)) is not None:
            taken = delivery.take()
            self._taken = taken if isinstance(taken, Processing) else None

    def open(self, context: Context) -> Context:
        """Start the span, and return the context to work in, which is not current yet."""
        # A record may be a named tuple, which is a sequence too.
        self._single = hasattr(self._record, "topic") or not isinstance(self._record, Sequence)
        self._records: Sequence[Record] = (self._record,) if self._single else list(self._record)  # type: ignore[assignment, arg-type]
        self._error: str | None = None
        telemetry = self._telemetry
        if self._taken is not None and self._group is None:
            self._group = self._taken._group  # noqa: SLF001 - another of this class
        routes = telemetry.handlers(self._group)
        message: SpanContext | None = None
        parent = context
        above: SpanContext | None = None
        if self._single:
            (record,) = self._records
            route = routes.get(semconv.PROCESS, record.topic)
            parent, message = extract_onto(telemetry.propagation, record.headers, context)
            if message is not None and telemetry.ambient_parent:
                parent = with_span(trace.get_current_span(context), parent)
            else:
                above = message
        else:
            route = routes.get(semconv.PROCESS, *sorted({record.topic for record in self._records}))
        if above is None:
            above = trace.get_current_span(parent).get_span_context()
        inside = self._inside(route, context, parent, above, message)
        return inside if self._single or not telemetry.loops else set_value(AT_HAND, Together(self._records), inside)

    def _inside(
        self, route: Route, ambient: Context, parent: Context, above: SpanContext, message: SpanContext | None
    ) -> Context:
        """Return the context to work in: with our span if one is recorded, or that of the parent."""
        telemetry = self._telemetry
        if not route.traced:
            self._span = trace.get_current_span(parent)
            self.owned = False
            return parent
        self.owned = True
        inside = parent
        taken = self._taken is not None and self._taken._span.is_recording()  # noqa: SLF001 - another of this class
        dropped = not taken and telemetry.spans.drops(above)
        self._measured = measured = telemetry.metrics.enabled
        if dropped:
            self._span = NonRecordingSpan(above)
            if not measured:
                self.owned = False
                return parent
        self._started = time_ns()
        if not dropped:
            if taken:
                self._go_on(route, ambient)
            else:
                self._start(route, ambient, parent, above, message)
            self._route = route
            inside = with_span(self._span, parent)
        if measured:
            self._route = route
            if self._taken is None:
                self._count()
            inside = set_value(_PROCESSING, self, inside)
        return inside

    def _start(
        self, route: Route, ambient: Context, parent: Context, above: SpanContext, message: SpanContext | None
    ) -> None:
        attributes = route.attributes.copy()
        if self._single:
            describe(attributes, self._records[0], self._telemetry)
            if (waited := self._queue_time(self._records[0])) is not None:
                attributes[semconv.QUEUE_TIME_MS] = waited // _MILLISECOND
        else:
            attributes[semconv.MESSAGING_BATCH_MESSAGE_COUNT] = len(self._records)
        self._add_given(attributes, ambient)
        name = route.name_of(attributes) if route.named_by is not None and self._single else route.name
        self._span = self._telemetry.spans.start(
            name, parent, SpanKind.CONSUMER, attributes, self._all_links(ambient, message), self._started, above
        )

    def _add_given(self, attributes: dict[str, AttributeValue], ambient: Context) -> None:
        if ambient:
            with_bound(attributes, ambient)
        if self._attributes:
            attributes.update({name: clean(value) for name, value in self._attributes.items() if value is not None})

    def _go_on(self, route: Route, ambient: Context) -> None:
        """Add what is given to the span that a loop has started."""
        taken: Processing = self._taken  # type: ignore[assignment]  # the caller has looked
        self._span = span = taken._span
        self._started = taken._started
        attributes = route.attributes.copy()
        self._add_given(attributes, ambient)
        span.set_attributes(attributes)
        if route.named_by is not None:
            span.update_name(route.name_of(attributes))
        for link in self._links:
            span.add_link(link.context, link.attributes)

    def _all_links(self, ambient: Context, message: SpanContext | None) -> list[Link]:
        links = [Link(message)] if message is not None else []
        if self._single:
            if ambient and message is not None and not self._telemetry.ambient_parent:
                span = trace.get_current_span(ambient)
                if span.is_recording():
                    links.append(Link(span.get_span_context(), _AMBIENT))
        else:
            links.extend(islice(self._message_links(), max(0, self._telemetry.spans.link_limit - len(self._links))))
        links.extend(self._links)
        return links

    def _message_links(self) -> Iterator[Link]:
        for record in self._records:
            context = self._telemetry.propagation.span_context(record.headers)
            if context is not None:
                yield Link(context, link_attributes(record, self._telemetry.names))

    def _queue_time(self, record: Record) -> int | None:
        """Return nanoseconds since the record's timestamp; 0 if the producer's clock is ahead of ours."""
        timestamp: object = record.timestamp
        if not isinstance(timestamp, int) or timestamp <= 0:
            return None
        return max(0, self._started - timestamp * _MILLISECOND)

    def _count(self) -> None:
        metrics = self._telemetry.metrics
        routes = self._telemetry.handlers(self._group)
        for record in self._records:
            labels = routes.get(semconv.PROCESS, record.topic).labels_of(record.partition)
            if (waited := self._queue_time(record)) is not None:
                metrics.queue_time(labels, waited / _SECOND)
            # Once for each delivery: an instrumented consumer has counted it (messaging-metrics.md).
            if not self._telemetry.active:
                metrics.consumed(labels, 1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        try:
            self.finish(error)
        finally:
            if self._token is not None:
                leave(self._token, self._inner, error)
                self._token = None

    def finish(self, error: BaseException | None) -> None:
        """End the span, with the error of the handler if it had one."""
        try:
            if self._route is not None:
                # Closing a generator in which a handler runs is not a failure of the handler.
                if error is not None and not isinstance(error, GeneratorExit):
                    self._error = record_error(self._span, error)
                    record_frames(self._span, error)
                self._end(self._route)
        except Exception as fault:  # noqa: BLE001 - the caller must see the handler's error and no other
            faults.report("ending a process span", fault)

    def _end(self, route: Route) -> None:
        ended = time_ns()
        self._span.end(ended)
        if self._measured:
            partitions = {record.partition for record in self._records}
            partition = partitions.pop() if len(partitions) == 1 else None
            self._telemetry.metrics.process(route.labels_of(partition), ended - self._started, self._error)

    def serves(self, span: Span) -> bool:
        """Return whether a span is the one that is current in this processing, its own or the sender's."""
        return self._span.get_span_context() == span.get_span_context()

    def failed(self, kind: str) -> None:
        """Remember, for the metric, a final error that the handler has dealt with."""
        self._error = kind


def process(
    record: Record | Sequence[Record],
    *,
    group: str | None = None,
    links: Sequence[Link] = (),
    attributes: Mapping[str, object] | None = None,
) -> Processing:
    """Trace the processing of one record, or of a list of them, as a context manager that yields the span.

    Args:
        record: what `getone` returned, or a list of such; any object with the attributes of `messages.Record` will do.
        group: the consumer group that processes it.
        links: further links of the span, known at start.
        attributes: further attributes, known at start; also what names the span, with the option `name_attribute`.
    """
    return Processing(record, group, links, attributes)


def fail(span: Span, error: BaseException, description: str | None = None) -> None:
    """Mark a span as failed for good by an error that the caller has handled: status ERROR and `error.type`.

    Without a `description` of the caller's, that of the status is the error's class or Kafka's own text, never the
    error's message. An attempt that will be repeated is not a failure: the convention wants only the final outcome
    recorded (recording-errors.md).
    """
    try:
        kind = record_error(span, error, description)
        processing = get_current().get(_PROCESSING)
        if isinstance(processing, Processing) and processing.serves(span):
            processing.failed(kind)
    except Exception as fault:  # noqa: BLE001 - reporting a failure must not be one
        faults.report("marking a span as failed", fault)
