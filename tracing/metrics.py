"""The four messaging metrics of the convention, and the time a message queued.

They are recorded for every operation, sampled or not. Without a meter provider nothing is computed: `enabled` looks
each time, because a provider may be set long after `instrument()`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry import metrics
from opentelemetry.metrics import Counter, Histogram, MeterProvider, NoOpHistogram
from opentelemetry.util.types import AttributeValue

from tracing import semconv

Labels = dict[str, AttributeValue]

_NANOSECONDS: Final = 1e9


class Metrics:
    """The instruments, created once for each `instrument()`."""

    __slots__ = ("_consumed", "_operation", "_process", "_queue_time", "_sent")

    def __init__(self, provider: MeterProvider | None = None, version: str = "") -> None:
        meter = metrics.get_meter(semconv.SCOPE, version, provider, semconv.SCHEMA_URL)
        self._operation: Histogram = meter.create_histogram(
            semconv.OPERATION_DURATION,
            unit=semconv.SECONDS,
            description="Duration of messaging operation initiated by a producer or consumer client.",
            explicit_bucket_boundaries_advisory=semconv.DURATION_BUCKETS,
        )
        self._process: Histogram = meter.create_histogram(
            semconv.PROCESS_DURATION,
            unit=semconv.SECONDS,
            description="Duration of processing operation.",
            explicit_bucket_boundaries_advisory=semconv.DURATION_BUCKETS,
        )
        self._queue_time: Histogram = meter.create_histogram(
            semconv.QUEUE_TIME,
            unit=semconv.SECONDS,
            description="Time between a record's timestamp and the start of its processing.",
            explicit_bucket_boundaries_advisory=semconv.QUEUE_TIME_BUCKETS,
        )
        self._sent: Counter = meter.create_counter(
            semconv.SENT_MESSAGES,
            unit=semconv.MESSAGES,
            description="Number of messages producer attempted to send to the broker.",
        )
        self._consumed: Counter = meter.create_counter(
            semconv.CONSUMED_MESSAGES,
            unit=semconv.MESSAGES,
            description="Number of messages that were delivered to the application.",
        )

    @property
    def enabled(self) -> bool:
        """Whether anybody collects: not without a meter provider, nor with one that does nothing."""
        # The API's stand-in for a provider that is not there yet keeps the real instrument in this attribute; on any
        # other instrument the attribute is missing and the instrument itself is the answer.
        instrument = getattr(self._operation, "_real_instrument", self._operation)
        return instrument is not None and not isinstance(instrument, NoOpHistogram)

    def operation(self, labels: Labels, duration_ns: int, error: str | None = None) -> None:
        """Record how long a send, a receive or a settlement took."""
        self._operation.record(duration_ns / _NANOSECONDS, _with_error(labels, error))

    def sent(self, labels: Labels, count: int, error: str | None = None) -> None:
        """Count messages that were handed to the broker, or failed to be."""
        self._sent.add(count, _with_error(_without_type(labels), error))

    def consumed(self, labels: Labels, count: int, error: str | None = None) -> None:
        """Count messages that reached the application, once for each delivery."""
        self._consumed.add(count, _with_error(_without_type(labels), error))

    def process(self, labels: Labels, duration_ns: int, error: str | None = None) -> None:
        """Record how long a handler took."""
        self._process.record(duration_ns / _NANOSECONDS, _with_error(_without_type(labels), error))

    def queue_time(self, labels: Labels, seconds: float) -> None:
        """Record how long a message waited, from its timestamp to its processing."""
        self._queue_time.record(seconds, _without_type(labels))


def _with_error(labels: Mapping[str, AttributeValue], error: str | None) -> Mapping[str, AttributeValue]:
    return labels if error is None else {**labels, semconv.ERROR_TYPE: error}


def _without_type(labels: Labels) -> Labels:
    """Leave out the operation type, which only the client's operation duration has (messaging-metrics.md)."""
    return {name: value for name, value in labels.items() if name != semconv.MESSAGING_OPERATION_TYPE}
