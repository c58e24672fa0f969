"""The SDK's span processors and metric reader, with what they lack here: bound attributes, a count of losses, forks."""

from __future__ import annotations

import math
import threading
from typing import Any, Final

from opentelemetry import metrics
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from tracing.binding import bound
from tracing.otlp import survive_forks
from tracing.semconv import ERROR_TYPE, SCHEMA_URL, SCOPE, SPANS_PROCESSED
from tracing.settings import TelemetrySettings
from tracing.telemetry import version

_QUEUE_FULL: Final = {"otel.component.type": "batching_span_processor", ERROR_TYPE: "queue_full"}

#: How long the SDK's batch processor takes to shut down, at most.
_SDK_SHUTDOWN_S: Final = 30.0


class BoundAttributesSpanProcessor(SpanProcessor):
    """Copies what `tracing.bind` bound onto every span that other instrumentations start.

    Spans of this package have them from their start, so that samplers see them; they are skipped.
    """

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Add the attributes bound in the context in which the span starts."""
        attributes = bound(get_current() if parent_context is None else parent_context)
        if attributes:
            scope = span.instrumentation_scope
            if scope is None or scope.name != SCOPE:
                span.set_attributes(attributes)


class CountingBatchSpanProcessor(BatchSpanProcessor):
    """The SDK's batch processor, which drops the oldest span when its queue is full, with a count of the drops."""

    def __init__(self, exporter: SpanExporter, settings: TelemetrySettings) -> None:
        super().__init__(
            exporter,
            max_queue_size=settings.queue_size,
            schedule_delay_millis=settings.schedule_delay_ms,
            max_export_batch_size=settings.batch_size,
            export_timeout_millis=settings.export_timeout_ms,
        )
        #: Spans dropped since the start because the exporter could not keep up.
        self.dropped = 0
        self._size = settings.queue_size
        self._waiting: Any = getattr(self._batch_processor, "_queue", ())
        self._counter = metrics.get_meter(SCOPE, version(), schema_url=SCHEMA_URL).create_counter(
            SPANS_PROCESSED, unit="{span}", description="Spans that the processor could not keep."
        )
        # Reported from the start, so that the first drop shows as an increase.
        self._counter.add(0, _QUEUE_FULL)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span, and count the one that is dropped for it."""
        if len(self._waiting) >= self._size and span.context is not None and span.context.trace_flags.sampled:
            self.dropped += 1
            self._counter.add(1, _QUEUE_FULL)
        super().on_end(span)

    def shutdown(self, timeout_s: float = _SDK_SHUTDOWN_S) -> None:
        """Export what is queued, within a number of seconds, and close."""
        self._batch_processor.shutdown(timeout_millis=milliseconds(timeout_s))


class ForkableMetricReader(PeriodicExportingMetricReader):
    """The SDK's reader, whose lock and connection a child of a fork does not share with its parent."""

    def __init__(self, exporter: MetricExporter, interval_ms: int) -> None:
        survive_forks(exporter)
        super().__init__(exporter, export_interval_millis=interval_ms)

    def _at_fork_reinit(self) -> None:
        self._export_lock = threading.Lock()
        super()._at_fork_reinit()  # type: ignore[no-untyped-call]  # the SDK's


def milliseconds(seconds: float) -> int:
    """Return milliseconds, rounded up so that a wait is not too short, and at least one, which the SDK needs."""
    return max(1, math.ceil(seconds * 1000))
