"""Export spans over OTLP, encoded when they end, for any program with the OpenTelemetry SDK.

`EncodingSpanProcessor` takes the place of the SDK's BatchSpanProcessor with an OTLP exporter. Spans become bytes when
they end, a few at a time, and the bytes wait for the export. `EncodingSpanExporter` is for set-ups in which only an
exporter can be named (`OTEL_TRACES_EXPORTER=sagatrace`): spans wait as usual, and are encoded faster.

Nothing is lost while the receiver is slow: what it did not take is sent again, with pauses, until it takes it or newer
spans need the room. What is too large for it is sent in smaller requests (`sending`). Spans that it refuses for good,
and those that had no room, are counted, and logged in at most one line a second.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

from opentelemetry import metrics
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tracing import faults, semconv
from tracing.errors import UnknownExporter
from tracing.otlp.encoding import EncodedSpan, encode_span, span_id_of
from tracing.otlp.forking import survive_forks
from tracing.otlp.queue import SpanQueue
from tracing.otlp.sending import deliver
from tracing.otlp.transport import Transport, official_exporter, transport_of
from tracing.settings import ExportSettings

_log: Final = logging.getLogger("tracing")

#: Spans that are encoded one after the other, at most. From the second one on the encoder's code is in the CPU's
#: caches: a span that is encoded alone, between two messages, takes two to ten times as long.
_TOGETHER: Final = 32
#: Seconds between two attempts while the receiver takes nothing: the first pause, and the longest.
_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0
#: Seconds between two lines of the log about lost spans.
_REPORT_S: Final = 1.0
_SHUTDOWN_S: Final = 30.0


class EncodingSpanProcessor(SpanProcessor):
    """Exports spans over OTLP in batches; obeys the OTEL_BSP_* and OTEL_EXPORTER_OTLP_* variables.

    Args:
        exporter: an official OTLP span exporter for this processor alone; built from the environment if None.
        settings: read from the environment if None.
        exported: called with the ids of spans that need not be kept any more, in the thread that exports: they have
            arrived, or the receiver refused them for good.
        ended: called with each span that has ended and its bytes, before these are queued.

    Raises:
        UnknownExporter: the exporter cannot be given bytes; use the SDK's BatchSpanProcessor for it.
        InvalidSetting: a variable has an invalid value.
    """

    def __init__(
        self,
        exporter: SpanExporter | None = None,
        settings: ExportSettings | None = None,
        *,
        exported: Callable[[Sequence[int]], None] | None = None,
        ended: Callable[[ReadableSpan, bytes], None] | None = None,
    ) -> None:
        settings = settings or ExportSettings.from_environment()
        exporter = exporter or official_exporter("traces", "otlp", settings.traces_protocol)
        transport = transport_of(exporter)
        if transport is None:
            raise UnknownExporter(f"{type(exporter).__qualname__} is not an OTLP exporter that takes bytes")
        self._transport: Transport = transport
        survive_forks(exporter)  # before this processor's own thread starts again in a child
        self._exported = exported
        self._ended = ended
        self._queue = SpanQueue(settings.queue_size, settings.queue_bytes)
        self._batch_size = settings.batch_size
        self._delay_s = settings.schedule_delay_ms / 1000
        self._losses = _Losses(self._queue)
        self._take_none()
        self._start()
        # The hook must neither keep the processor alive nor call it when it is gone.
        restart = weakref.WeakMethod(self._restart)
        os.register_at_fork(after_in_child=lambda: method() if (method := restart()) is not None else None)

    def _take_none(self) -> None:
        """Start without spans that wait to be encoded."""
        self._fresh: deque[ReadableSpan] = deque()
        self._encoding = threading.Lock()
        self._plan()

    def _plan(self) -> None:
        """Decide how many spans are encoded together next: no more than the batch that is waiting has room for."""
        missing = self._batch_size - len(self._queue)
        self._together = min(_TOGETHER, missing if missing > 0 else self._batch_size)

    def _start(self) -> None:
        self._closed = self._given_up = False
        #: Seconds for which the receiver asked not to be sent anything.
        self._asked_s = 0.0
        self._sending = threading.Lock()
        self._awake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="EncodingSpanProcessor", daemon=True)
        self._thread.start()

    def _restart(self) -> None:
        """Start again in the child of a fork, which has no thread, and whose locks may be held for ever."""
        closed = self._closed
        self._queue.forget()
        self._take_none()
        self._losses.forget()
        if not closed:
            self._start()

    @property
    def dropped(self) -> int:
        """Spans lost since the start."""
        self._encode_fresh()  # others may have to leave for these
        return self._queue.lost

    def on_end(self, span: ReadableSpan) -> None:
        """Take a sampled span, to be encoded together with the next ones; at once if there is a callback `ended`."""
        context = span.get_span_context()
        if context is None or not context[3] & 1:  # its flags; the property would be a call
            return
        if self._closed:
            self._queue.lose(1)
        elif self._ended is not None:
            self._encode(span)
        else:
            self._fresh.append(span)
            if len(self._fresh) >= self._together:
                self._encode_fresh(wait=False)

    def _encode_fresh(self, *, wait: bool = True) -> None:
        """Encode the spans that have ended since the last time, in order, in one thread at a time."""
        if self._encoding.acquire(blocking=wait):
            try:
                while self._fresh:
                    self._encode(self._fresh.popleft())
                self._plan()
            finally:
                self._encoding.release()

    def _encode(self, span: ReadableSpan) -> None:
        """Encode a span and queue its bytes."""
        try:
            body = encode_span(span)
            if self._ended is not None:
                self._ended(span, body)
        except Exception as error:  # noqa: BLE001 - the caller who ends a span must not pay for its content
            faults.report("encoding a span", error)
            self._queue.lose(1)
            return
        waiting = self._queue.put(span.resource, span.instrumentation_scope, body)
        if waiting >= self._batch_size and not self._awake.is_set():
            self._awake.set()

    def _work(self) -> None:
        """Export full batches as they come, and smaller ones after a delay."""
        pause_s = _PAUSE_S
        while not self._closed:
            full = self._awake.wait(self._delay_s)
            self._awake.clear()
            if self._export(self._batch_size if full else 1):
                pause_s = _PAUSE_S
            else:
                self._closing.wait(max(pause_s, self._asked_s))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            self._losses.report()
        self._export(1)
        self._losses.report(last=True)

    def _export(self, least: int, deadline: float | None = None) -> bool:
        """Send batches while at least `least` spans wait; return whether all were taken."""
        self._encode_fresh()
        patience = -1.0 if deadline is None else max(0.0, deadline - monotonic())

        def is_over() -> bool:
            return self._given_up or (deadline is not None and monotonic() >= deadline)

        if not self._sending.acquire(timeout=patience):
            return False
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # noqa: FBT003 - the value under the key
        try:
            while len(self._queue) >= least:
                if is_over() or not self._send(is_over):
                    return False
        except Exception as error:  # noqa: BLE001 - the thread has to live on
            faults.report("exporting spans", error)
            return False
        else:
            return True
        finally:
            detach(token)
            self._sending.release()
            self._plan()

    def _send(self, is_over: Callable[[], bool]) -> bool:
        """Send a batch; return whether nothing is left of it."""
        batch = self._queue.take(self._batch_size, self._transport.most_bytes)
        try:
            delivery = deliver(self._transport, batch, is_over)
        except BaseException:  # the main thread was interrupted in a flush
            self._queue.put_back(batch)
            raise
        if delivery.left and not self._given_up:
            self._queue.put_back(delivery.left)
        elif delivery.left:
            self._queue.lose(len(delivery.left))
        if delivery.lost:
            self._queue.lose(delivery.lost)
        if self._exported is not None and delivery.settled:
            self._exported([span_id_of(body) for _, _, body in delivery.settled])
        self._asked_s = delivery.after_s
        return not delivery.left

    def force_flush(self, timeout_millis: int | None = 30_000) -> bool:
        """Export the waiting spans in this thread; return False if the receiver or the time does not allow it."""
        if self._closed:
            return False
        deadline = monotonic() + (_SHUTDOWN_S if timeout_millis is None else timeout_millis / 1000)
        return self._export(1, deadline)

    def shutdown(self, timeout_s: float = _SHUTDOWN_S) -> None:
        """Export the waiting spans, as far as the time allows, and close; the rest is lost and counted.

        Args:
            timeout_s: seconds after which it returns whether or not the receiver has taken everything.
        """
        if self._closed:
            return
        deadline = monotonic() + timeout_s
        self._closed = True
        self._closing.set()
        self._awake.set()
        self._thread.join(max(0.0, deadline - monotonic()))
        # An attempt that still runs is the last one for its spans, and its thread dies with the process.
        self._given_up = True
        self._transport.shutdown()
        self._encode_fresh()
        self._queue.lose(len(self._queue.take(len(self._queue), 1 << 62)))
        self._losses.report(last=True)


class _Losses:
    """Reports lost spans, many at once, by a metric and a log line."""

    def __init__(self, queue: SpanQueue) -> None:
        self._queue = queue
        self._reported = 0
        self._next = 0.0
        self._counter = metrics.get_meter(semconv.SCOPE).create_counter(
            semconv.SPANS_PROCESSED, unit="{span}", description="Spans that the processor could not keep."
        )
        self._labels = {"otel.component.type": "batching_span_processor", semconv.ERROR_TYPE: "queue_full"}
        # There from the start, so that the first loss is an increase.
        self._counter.add(0, self._labels)

    def report(self, *, last: bool = False) -> None:
        lost = self._queue.lost - self._reported
        if lost and (last or monotonic() >= self._next):
            self._next = monotonic() + _REPORT_S
            self._reported += lost
            self._counter.add(lost, self._labels)
            _log.warning("%d spans were lost: the receiver did not take them, or not in time", lost)

    def forget(self) -> None:
        self._reported = 0


class EncodingSpanExporter(SpanExporter):
    """An OTLP exporter with our encoder for the SDK's own processors; one without the names we need encodes by itself.

    Args:
        **options: arguments of the official exporter.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - the official exporter's
        protocol = ExportSettings.from_environment().traces_protocol
        self._official: SpanExporter = official_exporter("traces", "otlp", protocol, **options)
        survive_forks(self._official)
        self._transport = transport_of(self._official)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Encode and send; a span that cannot be encoded is left out alone."""
        if self._transport is None:
            return self._official.export(spans)
        encoded: list[EncodedSpan] = []
        for span in spans:
            try:
                encoded.append((span.resource, span.instrumentation_scope, encode_span(span)))
            except Exception as error:  # noqa: BLE001 - a span may hold anything
                faults.report("encoding a span", error)
        delivery = deliver(self._transport, encoded)
        return SpanExportResult.FAILURE if delivery.left or delivery.lost else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the official exporter."""
        self._official.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return at once: nothing waits here."""
        del timeout_millis
        return True
