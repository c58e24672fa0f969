"""The records of one batch: what the client has taken, and their contexts, which are written when the batch is sent.

What fits into a batch is the client's answer to each append. It must be the same with tracing, so a record is appended
as it is, without a context. When the batch is sent its records are written once more, in order, each with its context
as long as the batch stays within the client's limit. A record for which there is no room keeps the headers that it was
given, and its create span says so (`sagatrace.context.left_out`).
"""

from __future__ import annotations

from collections.abc import Callable
from time import time_ns
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import Span, SpanContext, SpanKind

from tracing import faults, semconv
from tracing.binding import with_bound
from tracing.headers import Header
from tracing.linking import links_in
from tracing.room import left_out
from tracing.routes import Routes
from tracing.spans import suppressed
from tracing.telemetry import Telemetry


class Appended(NamedTuple):
    """A record in the batch: its serialised parts, its place, and what it is to carry."""

    metadata: Any
    key: bytes | None
    value: bytes | None
    headers: list[Header]
    #: Where it was appended; None if nothing is to be traced there.
    context: Context | None
    span: Span | None
    ended: int

    @property
    def place(self) -> tuple[int, int]:
        """The offset in the batch and the timestamp, as the client has set them."""
        return self.metadata.offset, self.metadata.timestamp

    def span_context(self) -> SpanContext | None:
        """Return the context of the create span, if there is one."""
        return None if self.span is None else self.span.get_span_context()


class Creation:
    """Stands in for the `append` of one batch builder until the batch is sent."""

    __slots__ = ("_append", "_records", "_routes", "_serialised", "_serialize", "_telemetry")

    def __init__(self, telemetry: Telemetry, routes: Routes, batch: BatchBuilder) -> None:
        self._telemetry = telemetry
        self._routes = routes
        self._append: Callable[..., Any] = batch.append
        self._serialize: Callable[..., tuple[Any, Any]] = batch._serialize  # noqa: SLF001 - it must run once
        self._serialised: tuple[Any, Any] = (None, None)
        self._records: list[Appended] = []
        # Attributes of this one object. Nothing else refers to it: a batch that is never sent is garbage.
        batch.append = self.append  # type: ignore[method-assign]
        batch._serialize = self.serialize  # type: ignore[method-assign]  # noqa: SLF001 - as above

    @classmethod
    def of(cls, batch: object) -> Creation | None:
        """Return what stands in for the `append` of a batch; None if nothing does."""
        creation = getattr(getattr(batch, "append", None), "__self__", None)
        return creation if isinstance(creation, cls) else None

    def append(self, *args: Any, **kwargs: Any) -> object:  # noqa: ANN401 - for the client to judge
        """Append a record as the client does, and start its create span if the client took it."""
        started = time_ns()
        metadata = self._append(*args, **kwargs)
        try:
            self._add(metadata, started, **kwargs)
        except Exception as error:  # noqa: BLE001 - the record is in the batch, and the caller must know it
            faults.report("keeping a record of a batch", error)
        return metadata

    def serialize(self, key: object, value: object) -> tuple[Any, Any]:
        """Serialise a key and a value, and keep the result."""
        self._serialised = self._serialize(key, value)
        return self._serialised

    def _add(self, metadata: object, started: int, *, key: object, headers: Any = None, **_: object) -> None:  # noqa: ANN401
        context, span = self._traced(key, started)
        if metadata is None:
            if span is not None:
                span.set_attribute(semconv.SAGATRACE_BATCH_FULL, True)  # noqa: FBT003 - the value of an attribute
                span.end()
            return
        (key, value), self._serialised = self._serialised, (None, None)
        self._records.append(
            Appended(metadata, _kept(key), _kept(value), list(headers or ()), context, span, time_ns())
        )

    def _traced(self, key: object, started: int) -> tuple[Context | None, Span | None]:
        try:
            context = get_current()
            if not self._telemetry.active or suppressed(context):
                return None, None
            if self._telemetry.spans.drops(trace.get_current_span(context).get_span_context()):
                return context, None
            return context, self._start(key, context, started)
        except Exception as error:  # noqa: BLE001 - the record is in the batch, and goes out untraced
            faults.report("starting a create span", error)
            return None, None

    def _start(self, key: object, context: Context, started: int) -> Span:
        route = self._routes.get(semconv.CREATE)
        attributes = route.attributes.copy()
        if key is not None and (rendered := self._telemetry.render_key(key)) is not None:
            attributes[self._telemetry.names.message_key] = rendered
        with_bound(attributes, context)
        name, links = route.name_of(attributes), links_in(context)
        return self._telemetry.spans.start(name, context, SpanKind.PRODUCER, attributes, links, started)

    def release(self, batch: BatchBuilder) -> None:
        """Give the batch its own `append` back: `send` may add messages to it, which bring a context of their own."""
        del batch.append
        del batch._serialize  # noqa: SLF001 - see above

    def write(self, batch: BatchBuilder, producer: AIOKafkaProducer) -> None:
        """Write the records into the batch once more, with as many contexts as there is room for."""
        try:
            if self._records and len(self._records) == batch.record_count():
                self._write(batch, producer)
        except Exception as error:  # noqa: BLE001 - the batch goes out as the client has built it
            faults.report("writing contexts into a batch", error)

    def _write(self, batch: Any, producer: Any) -> None:  # noqa: ANN401 - private names of the client are needed
        accumulator = producer._message_accumulator  # noqa: SLF001 - it makes the builders
        limit = accumulator._batch_size  # noqa: SLF001 - the client has no public name for it
        if len(self._records) == 1:
            # The client takes a first record of any size, but no request that is larger than this.
            limit = max(limit, producer._max_request_size)  # noqa: SLF001 - as above
        room = limit - batch.size()
        builder = accumulator.create_builder()._builder  # noqa: SLF001 - as above
        for record in self._records:
            headers, room = self._headers(record, room, builder)
            if builder.append(*record.place, record.key, record.value, headers) is None:
                raise RuntimeError("a batch has no room for its own records")
        batch._builder = builder  # noqa: SLF001 - as above

    def _headers(self, record: Appended, room: int, builder: Any) -> tuple[list[Header], int]:  # noqa: ANN401 - untyped
        """Return the headers to write, with the record's context if it fits, and the room that is left."""
        if record.context is None:
            return record.headers, room
        headers = self._telemetry.propagation.inject(record.headers, record.context, record.span_context())
        more = builder.size_in_bytes(*record.place, record.key, record.value, headers) - record.metadata.size
        if more <= max(room, 0):
            return headers, room - more
        if record.span is not None:
            left_out(record.span)
        return record.headers, room

    def sent_to(self, topic: str) -> list[SpanContext]:
        """End the create spans under the topic's name and return their contexts."""
        route = self._routes.get(semconv.CREATE, topic)
        spans = [(record.span, record.ended) for record in self._records if record.span is not None]
        self._records = []
        for span, ended in spans:
            # Also for a topic that is left out: the message carries the span's context, so the span must exist.
            span.update_name(route.name_of(getattr(span, "attributes", None) or {}))
            span.set_attribute(semconv.MESSAGING_DESTINATION_NAME, topic)
            span.end(ended)
        return [span.get_span_context() for span, _ in spans]


def _kept(data: Any) -> bytes | None:  # noqa: ANN401 - anything with a buffer
    """Return bytes that the caller can't change any more."""
    return data if data is None or type(data) is bytes else bytes(data)
