"""`configure()` and `shutdown()`; each in a process of its own, because the SDK is global."""

import textwrap
from collections.abc import Sequence
from subprocess import CompletedProcess
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tests.runs.slowness import is_within
from tests.support.distributions import run_without
from tracing import InvalidSetting
from tracing.processors import CountingBatchSpanProcessor
from tracing.provider import _propagator
from tracing.settings import TelemetrySettings

W3C_FIELDS = {"traceparent", "tracestate", "baggage"}
QUIET = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}


def run(code: str, **environment: str) -> CompletedProcess[str]:
    """Run code in a new interpreter with these variables."""
    prepared = f"import os, tracing\nos.environ.update({ ({**QUIET, **environment})!r})\n" + textwrap.dedent(code)
    return run_without(frozenset(), prepared)


def output(code: str, **environment: str) -> list[str]:
    """Run code that must succeed without a word of complaint, and return the lines that it printed."""
    done = run(code, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_spans_go_to_the_exporter_with_the_resource() -> None:
    """With the console exporter a span is printed at shutdown, under the service's name, and a second call is idle."""
    lines = output(
        """
        from opentelemetry import trace
        tracing.configure("orders", resource_attributes={"deployment.environment.name": "test", "a": "program"})
        tracing.configure("another")
        with tracing.bind(**{"saga.id": "s-1"}), trace.get_tracer("t").start_as_current_span("work"):
            pass
        print(tracing.shutdown(), tracing.shutdown())
        """,
        OTEL_TRACES_EXPORTER="console",
        OTEL_RESOURCE_ATTRIBUTES="a=environment",
    )
    text = "\n".join(lines)
    assert '"service.name": "orders"' in text
    assert '"deployment.environment.name": "test"' in text
    assert '"a": "environment"' in text
    assert '"saga.id": "s-1"' in text
    assert lines[-1] == "True True"


def test_instrumentation_before_the_providers_works_for_spans_and_metrics() -> None:
    """Clients may be instrumented, and instruments made, long before `configure`."""
    code = """
        from opentelemetry import metrics, trace
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        class Record:
            topic, partition, offset, timestamp, key, value, headers = "t", 0, 0, 0, None, b"", ()
        tracing.instrument()
        with tracing.process(Record()) as early:
            pass
        tracing.configure("orders")
        reader = InMemoryMetricReader()
        metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
        with tracing.process(Record()) as late:
            pass
        (metric,) = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
        print(early.get_span_context().is_valid, late.get_span_context().is_valid, metric.name)
        """
    assert output(code) == ["False True messaging.process.duration"]


def test_a_disabled_sdk_is_not_set_up() -> None:
    """OTEL_SDK_DISABLED leaves the API's own providers in place."""
    code = """
        from opentelemetry import trace
        tracing.configure()
        print(type(trace.get_tracer_provider()).__name__, tracing.shutdown())
        """
    assert output(code, OTEL_SDK_DISABLED="true") == ["ProxyTracerProvider True"]


def test_a_provider_of_somebody_else_stays() -> None:
    """A provider that is there already gets the bound attributes and is not closed."""
    code = """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        tracing.configure()
        tracing.shutdown()
        with tracing.bind(a="1"), trace.get_tracer("t").start_as_current_span("work"):
            pass
        print(trace.get_tracer_provider() is provider, dict(exporter.get_finished_spans()[0].attributes))
        """
    assert output(code) == ["True {'a': '1'}"]


@pytest.mark.parametrize(
    ("protocol", "imported"),
    [("grpc", "opentelemetry.exporter.otlp.proto.grpc"), ("http/protobuf", "opentelemetry.exporter.otlp.proto.http")],
)
def test_only_the_chosen_exporter_is_imported(protocol: str, imported: str) -> None:
    """The other protocol's libraries are not loaded, and shutting down does not wait for a collector that is away."""
    code = """
        import sys, time
        tracing.configure("orders")
        started = time.monotonic()
        tracing.shutdown(0.2)
        loaded = {name for name in sys.modules if name.startswith("opentelemetry.exporter.otlp.proto.")}
        print(sorted({".".join(name.split(".")[:5]) for name in loaded} - {"opentelemetry.exporter.otlp.proto.common"}))
        print(time.monotonic() - started)
        """
    loaded, seconds = output(
        code,
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
    )
    assert loaded == f"['{imported}']"
    assert is_within(float(seconds), 2)


def test_shutdown_is_bounded_when_the_collector_hangs() -> None:
    """A collector that accepts and never answers costs the time given and not the exporter's own patience."""
    code = """
        import logging, socket, time
        from opentelemetry import trace
        logging.disable()
        server = socket.create_server(("127.0.0.1", 0))
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{server.getsockname()[1]}"
        tracing.configure("orders")
        with trace.get_tracer("t").start_as_current_span("work"):
            pass
        started = time.monotonic()
        closed = tracing.shutdown(0.3)
        print(closed, time.monotonic() - started)
        """
    ((closed, seconds),) = [line.split() for line in output(code, OTEL_TRACES_EXPORTER="otlp")]
    assert closed == "False"
    assert is_within(float(seconds), 2)


def test_a_bad_variable_stops_configure_and_is_named() -> None:
    """The message names the variable, and nothing is half configured."""
    code = """
        from opentelemetry import trace
        try:
            tracing.configure()
        except tracing.InvalidSetting as error:
            print("OTEL_TRACES_SAMPLER" in str(error), type(trace.get_tracer_provider()).__name__)
        """
    assert output(code, OTEL_TRACES_SAMPLER="sometimes") == ["True ProxyTracerProvider"]


@pytest.mark.parametrize(
    ("names", "fields"),
    [
        ("none", set()),
        ("tracecontext", {"traceparent", "tracestate"}),
        ("baggage,tracecontext", W3C_FIELDS),
        ("", W3C_FIELDS),
    ],
)
def test_propagators_are_chosen_by_the_environment(names: str, fields: set[str]) -> None:
    """OTEL_PROPAGATORS decides what a message carries."""
    assert _propagator(TelemetrySettings.from_environment({"OTEL_PROPAGATORS": names})).fields == fields


def test_a_propagator_that_is_not_installed_is_named() -> None:
    """The error says which variable asks for what."""
    with pytest.raises(InvalidSetting, match="OTEL_PROPAGATORS names 'pigeon'"):
        _propagator(TelemetrySettings.from_environment({"OTEL_PROPAGATORS": "tracecontext,pigeon"}))


class Stuck(SpanExporter):
    """An exporter that never gets to its turn: the delay is longer than the test."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take everything."""
        del spans
        return SpanExportResult.SUCCESS


def test_spans_that_do_not_fit_are_counted() -> None:
    """When the queue is full each further span drops one, and the count says how many."""
    settings: dict[str, Any] = {"OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    processor = CountingBatchSpanProcessor(Stuck(), TelemetrySettings.from_environment(settings))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    # Holding the lock that the exporting thread needs keeps the queue full.
    with processor._batch_processor._export_lock:
        for _ in range(15):
            provider.get_tracer("t").start_span("work").end()
    assert processor.dropped == 5
    provider.shutdown()
