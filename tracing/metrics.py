"""The four messaging metrics of the convention, and the time that a message was queued.

They are recorded for every operation, sampled or not. Without a meter provider nothing is computed; `enabled` checks
each time, because a provider may be set long after `instrument()`.
"""

from __future__ import annotations

from typing import Final

from opentelemetry import metrics
from opentelemetry.metrics import Counter, Histogram, MeterProvider, NoOpHistogram

from tracing import semconv
from tracing.labels import Labels

_NANOSECONDS: Final = 1e9


class Metrics:
    """The instruments, created once for each `instrument()`."""

    __slots__ = ("_consumed", "_enabled", "_operation", "_process", "_queue_time", "_sent")

    def __init__(
        self, provider: MeterProvider | None = None, version: str = "", schema_url: str = semconv.SCHEMA_URL
    ) -> None:
        self._enabled = False
        meter = metrics.get_meter(semconv.SCOPE, version, provider, schema_url)
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
        """Whether metrics are collected: not without a meter provider, nor with one that does nothing."""
        if self._enabled:
            return True
        # The API's proxy for a provider that is not there yet holds the real instrument in this attribute. Any other
        # instrument lacks the attribute, and is itself the real one.
        instrument = getattr(self._operation, "_real_instrument", self._operation)
        if instrument is None:
            return False
        self._enabled = not isinstance(instrument, NoOpHistogram)
        return self._enabled

    def operation(self, labels: Labels, duration_ns: int, error: str | None = None) -> None:
        """Record how long a send, a receive or a settlement took."""
        labels.typed.record(self._operation, duration_ns / _NANOSECONDS, error)

    def sent(self, labels: Labels, count: int, error: str | None = None) -> None:
        """Count messages that were sent to the broker, or failed to be sent."""
        labels.untyped.record(self._sent, count, error)

    def consumed(self, labels: Labels, count: int) -> None:
        """Count messages that reached the application, once for each delivery."""
        labels.untyped.record(self._consumed, count)

    def process(self, labels: Labels, duration_ns: int, error: str | None = None) -> None:
        """Record how long a handler took."""
        labels.untyped.record(self._process, duration_ns / _NANOSECONDS, error)

    def queue_time(self, labels: Labels, seconds: float) -> None:
        """Record how long a message waited, from its timestamp to the start of its processing."""
        labels.untyped.record(self._queue_time, seconds)
