"""A message, or a batch, on its way to the broker: its span and its metrics, until the acknowledgement."""

from __future__ import annotations

from asyncio import CancelledError, Future
from time import time_ns

from aiokafka.structs import RecordMetadata
from opentelemetry.trace import Span

from tracing import faults, semconv
from tracing.routes import Route
from tracing.spans import record_error
from tracing.telemetry import Telemetry

Acknowledgement = Future[RecordMetadata | None]


class Sending:
    """A message, or a batch of `count`, on its way to the broker; it is called with the acknowledgement's future."""

    __slots__ = ("_count", "_partition", "_route", "_started", "_telemetry", "span")

    def __init__(  # noqa: PLR0913 - all of it is needed at the end
        self, telemetry: Telemetry, route: Route, span: Span, *, started: int, partition: int | None, count: int = 1
    ) -> None:
        self._telemetry = telemetry
        self._route = route
        self.span = span
        self._started = started
        self._partition = partition
        self._count = count

    def watch(self, future: Acknowledgement) -> None:
        """End the span when the future is done; a callback added now runs before the caller continues."""
        try:
            future.add_done_callback(self)
        except Exception as error:  # noqa: BLE001 - a stand-in for a producer may return anything
            faults.report("watching a send", error)
            self._end(None)

    def __call__(self, future: Acknowledgement) -> None:
        """End the span with the message's outcome."""
        try:
            if future.cancelled():
                self.fail(CancelledError())
                return
            # Not future.exception(): asyncio would then take the error as handled.
            error: BaseException | None = getattr(future, "_exception", None)
            if error is None:
                self._succeed(future.result())
            else:
                self.fail(error)
        except Exception as fault:  # noqa: BLE001 - an error here would reach the exception handler of the caller's loop
            faults.report("ending a send span", fault)
            if self.span.is_recording():
                self.span.end()

    def _succeed(self, metadata: RecordMetadata | None) -> None:
        if metadata is not None:  # with acks=0 there is no answer
            span = self.span
            if span.is_recording():
                names = self._telemetry.names
                # One by one, which for so few is faster in the SDK than a mapping.
                span.set_attribute(names.offset, metadata.offset)
                if names.twins:
                    span.set_attribute(names.twins[names.offset], metadata.offset)
                if metadata.partition != self._partition:
                    span.set_attribute(semconv.MESSAGING_DESTINATION_PARTITION_ID, str(metadata.partition))
            self._partition = metadata.partition
        self._end(None)

    def fail(self, error: BaseException) -> None:
        """End the span with an error."""
        try:
            self._end(record_error(self.span, error))
        except Exception as fault:  # noqa: BLE001 - the caller must see its own error and no other
            faults.report("ending a send span", fault)

    def _end(self, error: str | None) -> None:
        ended = time_ns()
        self.span.end(ended)
        metrics = self._telemetry.metrics
        if metrics.enabled:
            labels = self._route.labels_of(self._partition)
            metrics.operation(labels, ended - self._started, error)
            metrics.sent(labels, self._count, error)
