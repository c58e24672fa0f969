"""Contrib's instrumentation and ours behind one interface, so that a scenario can be run with both."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, Sampler, SamplingResult

import tracing
from tests.support.conventions import in_old_names


class Instrumented:
    """One of the two instrumentations, recording into memory."""

    def __init__(self, name: str) -> None:
        self.ours = name == "ours"
        self._exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self._meters = MeterProvider(metric_readers=[self.reader], shutdown_on_exit=False)
        self.instrumentor = tracing.KafkaInstrumentor() if self.ours else AIOKafkaInstrumentor()

    def start(self, sampler: Sampler = ALWAYS_ON, **options: Any) -> None:
        """Instrument, with options that one of the two may know."""
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("test")
        self.instrumentor.instrument(tracer_provider=provider, meter_provider=self._meters, **options)

    def stop(self) -> None:
        """Remove the instrumentation, if it is still there."""
        if self.instrumentor.is_instrumented_by_opentelemetry:
            self.instrumentor.uninstrument()
        self._meters.shutdown()

    def process(self, record: Any) -> AbstractContextManager[object]:
        """Enter what a user wraps a handler in; contrib has nothing for that."""
        return tracing.process(record, group="test") if self.ours else nullcontext()

    @property
    def spans(self) -> list[ReadableSpan]:
        """Every span that has ended."""
        return list(self._exporter.get_finished_spans())

    def of_type(self, *operations: str) -> list[ReadableSpan]:
        """The spans of these operation types."""
        return [span for span in self.spans if attributes(span).get("messaging.operation.type") in operations]

    @property
    def sends(self) -> list[ReadableSpan]:
        """The send spans; contrib calls the type `publish`, as conventions before 1.30 did."""
        return self.of_type("send", "publish")

    @property
    def receives(self) -> list[ReadableSpan]:
        """The receive spans."""
        return self.of_type("receive")


class Looking(Sampler):
    """A sampler that records what it is shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any], int]] = []

    def should_sample(  # noqa: PLR0913, PLR0917 - the SDK's signature
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        links: Sequence[Any] | None = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        """Sample everything, and record what the decision could use."""
        del parent_context, trace_id, kind, trace_state
        self.seen.append((name, dict(attributes or {}), len(links or ())))
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)

    def get_description(self) -> str:
        """Name the sampler."""
        return "Looking"


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Return the attributes of a span as a dict, under the names of 1.44."""
    return in_old_names(span.attributes)


def span_id(span: ReadableSpan) -> int:
    """Return the id of a span."""
    assert span.context is not None
    return int(span.context.span_id)


def trace_id(span: ReadableSpan) -> int:
    """Return the id of a span's trace."""
    assert span.context is not None
    return int(span.context.trace_id)


def duration_s(span: ReadableSpan) -> float:
    """Return how long a span lasted, in seconds."""
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def traceparents(record: Any) -> list[bytes]:
    """Return every `traceparent` of a record."""
    return [value for name, value in record.headers if name == "traceparent"]
