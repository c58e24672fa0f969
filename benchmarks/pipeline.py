"""The OpenTelemetry SDK of a worker: the official provider and OTLP/HTTP exporter in every mode.

Between the two is the official batch processor, or ours in the modes of the fast path.

The only setting that differs from its default is the size of the queue. It holds a whole workload, because a benchmark
sends faster than any exporter exports, and a dropped span would cost less than an exported one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from aiokafka import ConsumerRecord
from opentelemetry import context, metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

import tracing
from benchmarks import freight, workloads
from benchmarks.modes import Client, Mode, Workload
from tracing import exposure
from tracing.journal import Journal
from tracing.settings import TelemetrySettings

#: The most spans of a message in any row, with room for those of the polls.
_SPANS_A_MESSAGE: Final = 3
_LEAST_QUEUE: Final = 4_096
_PARENT: Final = (0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)


class Pipeline:
    """The export of one worker's telemetry."""

    def __init__(self, address: str, messages: int, mode: Mode) -> None:
        resource = Resource.create({SERVICE_NAME: "benchmark"})
        queue = max(_LEAST_QUEUE, messages * _SPANS_A_MESSAGE)
        exporter: SpanExporter = OTLPSpanExporter(endpoint=f"{address}/v1/traces")
        self._tracers = TracerProvider(sampler=ParentBased(ALWAYS_ON), resource=resource)
        self._folder = TemporaryDirectory(prefix="sagatrace-bench-")
        self._journal = Journal(Path(self._folder.name), is_fed=mode.fast) if mode.journal else None
        if self._journal is not None:
            self._tracers.add_span_processor(self._journal)
            exposure.listen(self._journal.expose)
        self._tracers.add_span_processor(_batching(exporter, queue, mode, self._journal))
        trace.set_tracer_provider(self._tracers)
        self._meters: MeterProvider | None = None
        if mode.metrics:
            reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{address}/v1/metrics"))
            self._meters = MeterProvider([reader], resource)
            metrics.set_meter_provider(self._meters)

    def flush(self) -> None:
        """Export everything, in this thread."""
        self._tracers.force_flush()
        if self._meters is not None:
            self._meters.force_flush()

    def close(self) -> None:
        """Stop the threads and close the journal."""
        self._tracers.shutdown()
        if self._journal is not None:
            self._journal.close()
        self._folder.cleanup()
        if self._meters is not None:
            self._meters.shutdown()


def _batching(exporter: SpanExporter, queue: int, mode: Mode, journal: Journal | None) -> SpanProcessor:
    if mode.fast:
        settings = replace(TelemetrySettings.from_environment({}), queue_size=queue)
        if journal is None:
            return tracing.EncodingSpanProcessor(exporter, settings)
        return tracing.EncodingSpanProcessor(exporter, settings, exported=journal.arrived, ended=journal.ended)
    return BatchSpanProcessor(exporter if journal is None else journal.exporting(exporter), max_queue_size=queue)


def instrument(mode: Mode) -> None:
    """Wrap the client as the mode demands."""
    if mode.instrumentation == "contrib":
        AIOKafkaInstrumentor().instrument()
    elif mode.instrumentation == "ours":
        tracing.instrument(lean_spans=mode.fast, poll_spans=mode.poll_spans, process_spans=mode.process_spans)
    elif mode.client == "confluent" and mode.instrumentation == "own":
        from benchmarks.peers import confluent_client

        confluent_client.instrument()


def workloads_of(client: Client) -> workloads.Workloads:
    """Return the workloads of a client; clients that a mode does not use are not imported."""
    if client == "faststream":
        from benchmarks.peers import faststream_client

        return faststream_client.OPEN
    if client == "confluent":
        from benchmarks.peers import confluent_client

        return confluent_client.OPEN
    return workloads.OPEN


@contextmanager
def ambient(mode: Mode, workload: Workload) -> Iterator[None]:
    """Make a span of another service current, sampled or not, as the parent of everything inside.

    A receiving loop usually runs outside any trace, and so does this one where messages are sampled. Otherwise it
    runs inside an unsampled trace, so that no mode records anything: contrib's spans for a `getmany` and its
    partitions have the current span as parent, and would otherwise each be the root of a sampled trace.
    """
    if workload != "produce" and mode.sampled:
        yield
        return
    trace_id, span_id = _PARENT
    span = NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(int(mode.sampled))))
    token = context.attach(trace.set_span_in_context(span))
    try:
        yield
    finally:
        context.detach(token)


def _handle(_: ConsumerRecord[Any, Any]) -> None:
    """Do nothing with a message, so that only what surrounds the handler is measured."""


def _handle_traced(record: ConsumerRecord[Any, Any]) -> None:
    with tracing.process(record, group=freight.GROUP):
        _handle(record)


def handler_of(mode: Mode) -> Callable[[ConsumerRecord[Any, Any]], None]:
    """Return the handler of a mode: contrib offers nothing to put around one, and loops need nothing."""
    return _handle_traced if mode.instrumentation == "ours" and mode.process_spans == "explicit" else _handle
