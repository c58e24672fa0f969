"""The span journal: a write-ahead log that keeps the spans of a process that dies before it has exported them.

A span whose context is known elsewhere may have children there, which would be orphans without it. So

- before a context leaves the process (`exposure`), its span is appended as it is then, with the open spans above it,
  and appended again when the context leaves again and the span has changed since;
- a finished span is appended before it is queued for export, after what is still open above it;
- exported spans are marked as dropped, in one entry a batch.

A span that never ended and that nobody outside can know is not kept: its loss shows nowhere. An append has to come
before what it protects; it needs no more than that, because the page cache outlives a killed process.

`_live` holds the entry of each span that is kept, by span id and in the order of writing. When a segment is full, a new
one starts with these entries and takes its place. They may fill half a segment, and the oldest go first. So disk and
memory are bounded, and while the receiver is away, a segment is rewritten each time as much again has been appended. If
the disk refuses, the file is deleted, because it would become untrue, and written again a while later.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from struct import pack
from time import monotonic, time_ns
from typing import Any, Final
from weakref import WeakMethod

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext

from tracing import faults
from tracing.journal import recovery
from tracing.journal.segment import SUFFIX, EntryKind, Segment, frame
from tracing.otlp import encode_span
from tracing.semconv import ERROR_TYPE, JOURNAL_EVICTED, JOURNAL_FAILURES, JOURNAL_RECOVERED, SCHEMA_URL, SCOPE
from tracing.telemetry import version

#: Bytes of a journal on disk, at most; while one segment takes the place of another, both are there.
MAX_BYTES: Final = 32 * 1024 * 1024
#: Seconds after which a dead process's spans are of no further use: past the retention of most trace stores.
MAX_AGE_S: Final = 7 * 86_400.0
#: Seconds until the journal tries a disk again that refused.
RETRY_S: Final = 30.0
#: Spans that are open at the same time; spans that a program has begun and forgotten must not fill the memory.
_OPEN_LIMIT: Final = 65_536

_log: Final = logging.getLogger("tracing")


class Journal(SpanProcessor):
    """Keeps the spans of this process in a folder until they are exported.

    It comes before the processor that exports, whose exporter `exporting` wraps. No error leaves it.

    Args:
        folder: where the segments are; created if missing. Several processes may share it.
        max_bytes: the most that the files of this process take, including the spans of dead processes that it ships.
        retry_s: seconds until it tries a disk again that refused.
        is_fed: whether `ended` is called with the bytes of each finished span, so that a span is encoded only once.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int = MAX_BYTES, retry_s: float = RETRY_S, is_fed: bool = False
    ) -> None:
        self._folder = folder
        self._segment_bytes = max_bytes // 2
        self._retry_s = retry_s
        meter = metrics.get_meter(SCOPE, version(), schema_url=SCHEMA_URL)
        self._failures = meter.create_counter(
            JOURNAL_FAILURES, unit="{failure}", description="Times that the disk refused the span journal."
        )
        self._evicted = meter.create_counter(
            JOURNAL_EVICTED, unit="{span}", description="Spans that the journal had no room for until their export."
        )
        self._recovered = meter.create_counter(
            JOURNAL_RECOVERED, unit="{span}", description="Spans that a dead process left in its journal."
        )
        # There from the start, so that the first one is an increase.
        for counter in (self._failures, self._evicted, self._recovered):
            counter.add(0)
        self._warned = False
        self._is_fed = is_fed
        self._restart()
        os.register_at_fork(after_in_child=_weakly(self._forked))

    def _restart(self) -> None:
        self._lock = threading.Lock()
        self._name = f"{time_ns():020d}-{os.getpid()}"
        self._numbers = count()
        self._segment: Segment | None = None
        self._retry_at = 0.0
        self._closed = False
        #: By span id: the open spans, each with its extent when it was last written, or -1.
        self._open: dict[int, tuple[Span, int]] = {}
        #: By span id: the entries of the spans that are kept.
        self._live: dict[int, bytes] = {}
        self._live_bytes = 0
        #: The origins by the ids of resource and scope. The objects are kept, so that no other gets their ids.
        self._origins: dict[tuple[int, int], tuple[int, bytes, object, object]] = {}

    def _forked(self) -> None:
        """Leave the parent's spans, and its file, to the parent."""
        if self._segment is not None:
            self._segment.close()
        self._restart()

    # --- a span's life ----------------------------------------------------------------------------------------------

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's signature
        """Remember that a span is open."""
        opened = self._open
        if len(opened) >= _OPEN_LIMIT:
            opened.pop(next(iter(opened)), None)
        opened[span.context.span_id] = (span, -1)

    def expose(self, span_context: SpanContext) -> None:
        """Write a span, and the open spans above it, before its context leaves the process."""
        if span_context.span_id in self._open:
            with self._lock:
                self._expose(span_context.span_id)

    def _expose(self, span_id: int) -> None:
        """Write the open spans from this one upwards that have changed, the topmost first."""
        due: list[Span] = []
        found = self._open.get(span_id)
        while found is not None and found[1] < 0:
            span = found[0]
            due.append(span)
            found = self._open.get(span.parent.span_id) if span.parent is not None else None
        if found is not None and not due and _extent(found[0]) != found[1]:
            due.append(found[0])
        for span in reversed(due):
            if span.context.trace_flags.sampled:
                self._keep(EntryKind.BEGIN, span, time_ns(), encode_span(span))
            self._open[span.context.span_id] = (span, _extent(span))

    def on_end(self, span: ReadableSpan) -> None:
        """Write a finished span, after the open spans above it, unless `ended` is called with its bytes."""
        context = span.context
        if context is None:
            return
        if not context.trace_flags.sampled:
            with self._lock:
                self._open.pop(context.span_id, None)
        elif not self._is_fed:
            try:
                self.ended(span, encode_span(span))
            except Exception as error:  # noqa: BLE001 - the span is exported all the same
                faults.report("journalling a finished span", error)

    def ended(self, span: ReadableSpan, body: bytes) -> None:
        """Write a finished span, given its bytes."""
        context = span.context
        if context is None:
            return
        with self._lock:
            self._open.pop(context.span_id, None)
            if span.parent is not None and span.parent.span_id in self._open:
                self._expose(span.parent.span_id)
            self._keep(EntryKind.END, span, span.end_time or 0, body)

    def exported(self, spans: Iterable[ReadableSpan]) -> None:
        """Drop spans that have arrived."""
        self.arrived([span.context.span_id for span in spans if span.context is not None])

    def arrived(self, span_ids: Sequence[int]) -> None:
        """Drop spans that have arrived, given their ids."""
        try:
            with self._lock:
                self._drop(span_ids)
        except Exception as error:  # noqa: BLE001 - they may arrive twice, which does no harm
            faults.report("dropping exported spans from the journal", error)

    def _drop(self, span_ids: Sequence[int]) -> None:
        for span_id in span_ids:
            self._live_bytes -= len(self._live.pop(span_id, b""))
        if self._segment is None:
            return
        try:
            if self._live:
                self._append(frame(EntryKind.DROP, 0, 0, time_ns(), pack(f"<{len(span_ids)}Q", *span_ids)))
            else:
                self._segment.empty(self._content())
        except OSError as error:
            self._fail(error)

    def exporting(self, exporter: SpanExporter) -> SpanExporter:
        """Wrap an exporter so that the journal drops each batch that has arrived."""
        return JournalledExporter(exporter, self)

    # --- the file ---------------------------------------------------------------------------------------------------

    def _keep(self, kind: EntryKind, span: ReadableSpan, moment: int, body: bytes) -> None:
        span_id = span.context.span_id if span.context is not None else 0
        number = self._origin(span)
        entry = frame(kind, number, span_id, moment, body)
        live = self._live
        self._live_bytes += len(entry) - len(live.pop(span_id, b""))
        live[span_id] = entry
        while self._live_bytes > self._segment_bytes // 2:
            self._live_bytes -= len(live.pop(next(iter(live))))
            self._evicted.add(1)
        self._write(entry)

    def _write(self, entry: bytes) -> None:
        """Append an entry of a span that is kept; a new segment contains it already."""
        try:
            if self._segment is None:
                self._start()
            else:
                self._append(entry)
        except OSError as error:
            self._fail(error)

    def _append(self, entry: bytes) -> None:
        segment = self._segment
        if segment is None:
            return
        if segment.size + len(entry) > self._segment_bytes:
            self._segment = self._new()
            segment.discard()
        else:
            segment.append(entry)

    def _start(self) -> None:
        if self._closed or monotonic() < self._retry_at:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._segment = self._new()
        if self._warned:
            self._warned = False
            _log.info("the span journal in %s is on again", self._folder)

    def _new(self) -> Segment:
        path = self._folder / f"{self._name}-{next(self._numbers):06d}{SUFFIX}"
        return Segment.create(path, self._content())

    def _content(self) -> Iterator[bytes]:
        """Yield what a segment needs to stand alone: the origins, and the spans that are kept."""
        for number, payload, _, _ in self._origins.values():
            yield frame(EntryKind.ORIGIN, number, 0, 0, payload)
        yield from self._live.values()

    def _origin(self, span: ReadableSpan) -> int:
        key = (id(span.resource), id(span.instrumentation_scope))
        known = self._origins.get(key)
        if known is None:
            number = len(self._origins) & 0xFFFF
            payload = recovery.origin(span)
            known = self._origins[key] = (number, payload, span.resource, span.instrumentation_scope)
            if self._segment is not None:
                self._write(frame(EntryKind.ORIGIN, number, 0, 0, payload))
        return known[0]

    def _fail(self, error: OSError) -> None:
        """Continue without a file for a while."""
        if self._segment is not None:
            self._segment.discard()
            self._segment = None
        self._retry_at = monotonic() + self._retry_s
        self._failures.add(1, {ERROR_TYPE: type(error).__qualname__})
        _log.log(
            logging.DEBUG if self._warned else logging.WARNING,
            "the span journal in %s is off and asks again in %g s (%s): a killed process loses its unexported spans",
            self._folder,
            self._retry_s,
            error.strerror or type(error).__name__,
        )
        self._warned = True

    # --- the start and end of the process ---------------------------------------------------------------------------

    def recover(self, ship: Callable[[ReadableSpan], None]) -> int:
        """Keep and ship the spans that dead processes left in the folder; return how many there were."""
        shipped = 0
        for left in recovery.claim(self._folder, MAX_AGE_S):
            for span in left.spans():
                try:
                    self.on_end(span)
                    ship(span)
                    shipped += 1
                except Exception as error:  # noqa: BLE001 - the others are still to be shipped
                    faults.report("shipping a recovered span", error)
            left.discard()
        if shipped:
            self._recovered.add(shipped)
            _log.info("%d spans of a process that was killed are shipped from the journal in %s", shipped, self._folder)
        return shipped

    def shutdown(self) -> None:
        """Do nothing: queued spans are still to be exported; `close` comes after that."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's signature
        """Return at once: every entry is written when it is made."""
        return True

    def close(self) -> None:
        """Close the journal after the last export; spans that were not exported stay for the next process to ship."""
        with self._lock:
            self._closed = True
            segment, self._segment = self._segment, None
            if segment is not None:
                if self._live:
                    segment.close()
                else:
                    segment.discard()


class JournalledExporter(SpanExporter):
    """An exporter that reports to the journal which spans have arrived."""

    def __init__(self, exporter: SpanExporter, journal: Journal) -> None:
        self._exporter = exporter
        self._journal = journal

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export, and drop the spans that have arrived from the journal."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._journal.exported(spans)
        return result

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the exporter."""
        return self._exporter.force_flush(timeout_millis)


def _extent(span: Span) -> int:
    """Return the number of a span's attributes, events and links; it does not show a value that was replaced."""
    inside: Any = span
    return len(inside._attributes) + len(inside._events) + len(inside._links)  # noqa: SLF001 - copies cost ten times as much


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls the method as long as its object lives."""
    reference = WeakMethod(method)

    def call() -> None:
        found = reference()
        if found is not None:
            found()

    return call
