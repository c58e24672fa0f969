"""Read what a dead process left in its journal, as spans that any exporter takes.

An entry replaces the earlier one of its span, and a drop removes it; what remains was not exported. A finished span
comes back as it was. A span that was still open ends at the last moment at which its process is known to have lived,
the latest time in its journal, and carries `sagatrace.interrupted`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from struct import iter_unpack
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from tracing import faults
from tracing.journal.segment import EntryKind, JournalEntry, Segment, left_behind, read
from tracing.semconv import SAGATRACE_INTERRUPTED

#: Seconds after which a segment that never got its name is deleted.
_UNNAMED_S: Final = 60.0
_NS: Final = 1e9
#: SpanFlags: the other span is remote (opentelemetry/proto/trace/v1/trace.proto).
_IS_REMOTE: Final = 0x200

_log: Final = logging.getLogger("tracing")


def origin(span: ReadableSpan) -> bytes:
    """Return the resource and the scope of a span, as a `ResourceSpans` without spans."""
    written = encode_spans([span]).resource_spans[0]
    del written.scope_spans[0].spans[:]
    body: bytes = written.SerializeToString()
    return body


class Left:
    """The segments that one dead process left."""

    def __init__(self, segments: Sequence[Segment], max_age_s: float) -> None:
        self._segments = segments
        self._oldest_ns = time.time_ns() - int(max_age_s * _NS)

    def spans(self) -> Iterator[ReadableSpan]:
        """Yield the spans that were not exported, in the order in which they were written."""
        remains = Remains()
        for segment in self._segments:
            with suppress(OSError):
                remains.add(read(segment.content()))
        if remains.last_ns and remains.last_ns < self._oldest_ns:
            _log.warning("a span journal was given up: its process died too long ago: %s", self._segments[0].path)
            return
        yield from remains.spans()

    def discard(self) -> None:
        """Delete the segments."""
        for segment in self._segments:
            segment.discard()


def claim(folder: Path, max_age_s: float) -> Iterator[Left]:
    """Take over what dead processes left in a folder, and yield it process by process; nobody else gets the same."""
    _sweep(folder)
    for _, paths in groupby(left_behind(folder), key=lambda path: path.name.rpartition("-")[0]):
        segments = [segment for path in paths if (segment := Segment.claim(path)) is not None]
        if segments:
            yield Left(segments, max_age_s)


def _sweep(folder: Path) -> None:
    """Delete segments of processes that died before they could name them."""
    for path in folder.glob("*.new"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _UNNAMED_S:
                path.unlink()


class Remains:
    """The spans that are left after the entries of a process are played back."""

    def __init__(self) -> None:
        #: The last moment at which the process is known to have lived.
        self.last_ns = 0
        self._origins: dict[int, bytes] = {}
        self._kept: dict[int, tuple[JournalEntry, bytes]] = {}

    def add(self, entries: Iterable[JournalEntry]) -> None:
        """Play back entries."""
        for entry in entries:
            self.last_ns = max(self.last_ns, entry.time_ns)
            if entry.kind is EntryKind.ORIGIN:
                self._origins[entry.origin] = entry.payload
            elif entry.kind is EntryKind.DROP:
                for (span_id,) in iter_unpack("<Q", entry.payload[: len(entry.payload) // 8 * 8]):
                    self._kept.pop(span_id, None)
            else:
                self._kept.pop(entry.span_id, None)
                self._kept[entry.span_id] = (entry, self._origins.get(entry.origin, b""))

    def spans(self) -> Iterator[ReadableSpan]:
        """Yield what is left, as finished spans."""
        for entry, made_by in self._kept.values():
            try:
                yield self._span(entry, made_by)
            except Exception as error:  # noqa: BLE001 - the others can still be read
                faults.report("reading a span from a journal", error)

    def _span(self, entry: JournalEntry, made_by: bytes) -> ReadableSpan:
        message = Message.FromString(entry.payload)
        resource, scope = _origin(made_by)
        attributes = _values(message.attributes)
        end_ns = message.end_time_unix_nano
        if entry.kind is EntryKind.BEGIN:
            attributes[SAGATRACE_INTERRUPTED] = True
            end_ns = max(self.last_ns, message.start_time_unix_nano)
        return ReadableSpan(
            name=message.name,
            context=_context(message, flags=TraceFlags.SAMPLED),
            parent=_parent(message),
            resource=resource,
            attributes=attributes,
            events=[Event(event.name, _values(event.attributes), event.time_unix_nano) for event in message.events],
            links=[Link(_context(link, flags=0), _values(link.attributes)) for link in message.links],
            kind=SpanKind(max(0, message.kind - 1)),
            status=_status(message),
            start_time=message.start_time_unix_nano,
            end_time=end_ns,
            instrumentation_scope=scope,
        )


def _context(message: Any, flags: int) -> SpanContext:  # noqa: ANN401 - a span or a link
    return SpanContext(
        int.from_bytes(message.trace_id),
        int.from_bytes(message.span_id),
        bool(message.flags & _IS_REMOTE) and isinstance(message, Message.Link),
        TraceFlags(flags),
        TraceState.from_header([message.trace_state]) if message.trace_state else None,
    )


def _parent(message: Message) -> SpanContext | None:
    if not message.parent_span_id:
        return None
    is_remote = bool(message.flags & _IS_REMOTE)
    return SpanContext(int.from_bytes(message.trace_id), int.from_bytes(message.parent_span_id), is_remote)


def _status(message: Message) -> Status:
    code = StatusCode(message.status.code)
    return Status(code, message.status.message or None) if code is StatusCode.ERROR else Status(code)


@lru_cache(maxsize=64)
def _origin(payload: bytes) -> tuple[Resource, InstrumentationScope | None]:
    message = ResourceSpans.FromString(payload)
    resource = Resource(_values(message.resource.attributes), message.schema_url or None)
    scope: InstrumentationScope | None = None
    for spans in message.scope_spans:
        found = spans.scope
        scope = InstrumentationScope(found.name, found.version, spans.schema_url, _values(found.attributes))
    return resource, scope


def _values(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:  # noqa: ANN401 - an AnyValue, and its content
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(item) for item in value.array_value.values)
    if kind == "kvlist_value":
        return _values(value.kvlist_value.values)
    return None if kind is None else getattr(value, kind)
