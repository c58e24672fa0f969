"""Requests that a receiver does not take: what is too large for it, what it refuses, what it takes in part."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

import tracing
from tests.support.eventually import eventually
from tests.support.receiver import Receiver, Refusal, grpc_receiver, http_receiver
from tracing.journal import Journal
from tracing.otlp import processor as exporting
from tracing.settings import TelemetrySettings

SETTINGS = replace(TelemetrySettings.from_environment({}), schedule_delay_ms=60_000)
LIMIT = 20_000
#: How receivers say that a request is too large.
TOO_LARGE = {
    "http 413": (http_receiver, Refusal(413)),
    "http 400": (http_receiver, Refusal(400, "http: request body too large")),
    "grpc go": (grpc_receiver, Refusal("RESOURCE_EXHAUSTED", "grpc: received message larger than max (2 vs. 1)")),
    "grpc java": (grpc_receiver, Refusal("RESOURCE_EXHAUSTED", "gRPC message exceeds maximum size 1: 2")),
    "grpc rust": (grpc_receiver, Refusal("OUT_OF_RANGE", "Error, decoded message length too large: found 2 bytes")),
    "grpc proxy": (grpc_receiver, Refusal("UNKNOWN", "Received http2 header with status: 413")),
}
RETRY_INFO = RetryInfo()
RETRY_INFO.retry_delay.FromMilliseconds(300)


class Exporting:
    """A processor that exports to a receiver, and what it said need not be kept."""

    def __init__(self, receiver: Receiver, exporter: SpanExporter | None = None, **settings: Any) -> None:
        self.receiver = receiver
        self.settled: list[int] = []
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.processor = tracing.EncodingSpanProcessor(
            exporter or exporter_for(receiver), replace(SETTINGS, **settings), exported=self.settled.extend
        )
        self.provider.add_span_processor(self.processor)

    def end(self, *sizes: int, prefix: str = "span") -> list[str]:
        """End a span of each size in bytes, and return their names."""
        tracer = self.provider.get_tracer("test")
        names = [f"{prefix} {number}" for number in range(len(sizes))]
        for name, size in zip(names, sizes, strict=True):
            tracer.start_span(name, attributes={"payload": "x" * size}).end()
        return names


def exporter_for(receiver: Receiver) -> SpanExporter:
    """Return an official exporter to the receiver, over its protocol."""
    if receiver.protocol == "http":
        return HttpExporter(f"{receiver.address}/v1/traces", timeout=2)
    return GrpcExporter(receiver.address, insecure=True, timeout=2)


@pytest.fixture(params=TOO_LARGE)
def limited(request: pytest.FixtureRequest) -> Iterator[Exporting]:
    """An export to a receiver that takes requests of at most LIMIT bytes, and says so in one of the ways."""
    open_receiver, refusal = TOO_LARGE[request.param]
    with open_receiver() as receiver:
        receiver.rule = lambda size: refusal if size > LIMIT else None
        exporting_ = Exporting(receiver)
        yield exporting_
        exporting_.processor.shutdown(1)


@pytest.fixture(params=[http_receiver, grpc_receiver])
def export(request: pytest.FixtureRequest) -> Iterator[Callable[..., Exporting]]:
    """Start exports to a receiver over either protocol."""
    started: list[Exporting] = []
    with request.param() as receiver:

        def start(**settings: Any) -> Exporting:
            started.append(Exporting(receiver, **settings))
            return started[-1]

        yield start
        for found in started:
            found.processor.shutdown(1)


def test_spans_that_are_too_large_together_arrive_in_smaller_requests(limited: Exporting) -> None:
    """However a receiver says that a request is too large, no span is lost, and their order stays."""
    names = limited.end(*[2_500] * 30)
    assert limited.processor.force_flush()
    assert limited.receiver.names == names
    assert limited.processor.dropped == 0
    assert len(limited.settled) == 30


def test_a_span_that_is_too_large_alone_costs_itself_alone(limited: Exporting) -> None:
    """The others of its batch arrive, it is counted once, and neither it nor they are sent again."""
    names = limited.end(100, 100, LIMIT + 1, 100, 100)
    assert limited.processor.force_flush()
    assert limited.receiver.names == [names[0], names[1], names[3], names[4]]
    assert limited.processor.dropped == 1
    assert len(limited.settled) == 5
    names = limited.end(100, prefix="later")
    assert limited.processor.force_flush()
    assert limited.receiver.names[-1:] == names


def test_a_request_keeps_below_grpcs_own_limit(export: Callable[..., Exporting]) -> None:
    """Three spans of 1.45 MB are two requests, because a span's bytes are counted before it is added."""
    found = export()
    names = found.end(*[1_450_000] * 3)
    assert found.processor.force_flush()
    assert found.receiver.names == names
    assert found.receiver.requests == 2
    assert found.processor.dropped == 0


def test_a_span_above_grpcs_own_limit_is_lost_alone() -> None:
    """The server of gRPC refuses it with the text of its implementation; everything else arrives."""
    with grpc_receiver() as receiver:
        found = Exporting(receiver)
        names = found.end(100, 5_000_000, 100)
        assert found.processor.force_flush()
        assert receiver.names == [names[0], names[2]]
        assert found.processor.dropped == 1
        found.processor.shutdown(1)


@pytest.mark.parametrize(
    "refusal",
    [
        *(Refusal(status) for status in (301, 400, 401, 404, 500, 501)),
        *(Refusal(code) for code in ("UNIMPLEMENTED", "INVALID_ARGUMENT", "INTERNAL", "RESOURCE_EXHAUSTED")),
    ],
    ids=lambda refusal: refusal.status,
)
def test_what_is_refused_for_good_is_sent_once_and_counted(refusal: Refusal) -> None:
    """A final answer costs its batch and holds up nothing behind it; the journal need not keep the batch either."""
    with http_receiver() if isinstance(refusal.status, int) else grpc_receiver() as receiver:
        found = Exporting(receiver)
        receiver.rule = lambda _: refusal
        found.end(100, 100, 100)
        assert found.processor.force_flush()
        assert (receiver.requests, found.processor.dropped, len(found.settled)) == (1, 3, 3)
        receiver.rule = lambda _: None
        names = found.end(100, prefix="later")
        assert found.processor.force_flush()
        assert receiver.names == names
        found.processor.shutdown(1)


async def test_a_receiver_that_says_when_to_come_again_is_asked_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """RESOURCE_EXHAUSTED with a RetryInfo is a pause and costs no span."""
    monkeypatch.setattr(exporting, "_PAUSE_S", 0.01)
    busy = Refusal("RESOURCE_EXHAUSTED", "quota", (("google.rpc.retryinfo-bin", RETRY_INFO.SerializeToString()),))
    with grpc_receiver() as receiver:
        refusals = [busy, busy]
        receiver.rule = lambda _: refusals.pop() if refusals else None
        found = Exporting(receiver, schedule_delay_ms=20)
        names = found.end(100, 100)
        await eventually(lambda: receiver.names == names)
        # The pause of 10 ms alone would have come again some twenty times.
        assert receiver.requests == 3
        assert found.processor.dropped == 0
        found.processor.shutdown(1)


def test_a_partial_success_is_counted_and_not_sent_again(export: Callable[..., Exporting]) -> None:
    """The receiver has taken what it wants of the batch, and says only how many spans it did not keep."""
    found = export()
    found.receiver.rejects = 2
    names = found.end(100, 100, 100, 100, 100)
    assert found.processor.force_flush()
    assert found.receiver.names == names
    assert found.receiver.requests == 1
    assert found.processor.dropped == 2
    assert len(found.settled) == 5


def test_what_is_given_up_does_not_come_back_from_the_journal(tmp_path: Path) -> None:
    """After the end nothing is left of a span that is too large, nor of the batch that it was in."""
    with grpc_receiver() as receiver:
        journal = Journal(tmp_path, is_fed=True)
        provider = TracerProvider(shutdown_on_exit=False)
        processor = tracing.EncodingSpanProcessor(
            exporter_for(receiver), SETTINGS, exported=journal.arrived, ended=journal.ended
        )
        for added in (journal, processor):
            provider.add_span_processor(added)
        tracer = provider.get_tracer("test")
        tracer.start_span("large", attributes={"payload": "x" * 5_000_000}).end()
        tracer.start_span("small").end()
        processor.shutdown()
        journal.close()
        assert receiver.names == ["small"]
    assert list(tmp_path.rglob("*.journal")) == []


def test_the_exporter_alone_halves_what_is_too_large() -> None:
    """Under a processor of the SDK, which batches by number, no span is lost by its neighbours' size."""
    with http_receiver() as receiver:
        receiver.rule = lambda size: Refusal(413) if size > LIMIT else None
        exporter = tracing.EncodingSpanExporter(endpoint=f"{receiver.address}/v1/traces")
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        for number in range(30):
            provider.get_tracer("test").start_span(f"span {number}", attributes={"payload": "x" * 2_500}).end()
        provider.shutdown()
        assert receiver.names == [f"span {number}" for number in range(30)]


def test_the_exporters_own_limit_and_metrics_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has at most `max_request_size` bytes, and the exporter's metrics say what was refused, and how."""
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    reader = InMemoryMetricReader()
    meters = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    with http_receiver() as receiver:
        sizes: list[int] = []

        def rule(size: int) -> Refusal | None:
            sizes.append(size)
            return Refusal(404) if size < 1000 else None

        receiver.rule = rule
        exporter = HttpExporter(f"{receiver.address}/v1/traces", max_request_size=LIMIT, meter_provider=meters)
        found = Exporting(receiver, exporter)
        names = found.end(*[2_500] * 20, LIMIT + 1, 2_500)
        assert found.processor.force_flush()
        assert receiver.names == [*names[:20], names[21]]
        assert max(sizes) <= LIMIT
        assert found.processor.dropped == 1
        found.end(10, 10)
        assert found.processor.force_flush()
        found.processor.shutdown(1)
    assert exported(reader) == {(None, 23), ("RequestPayloadTooLargeError", 1)}
    assert durations(reader) == {(None, None), ("RequestPayloadTooLargeError", None), (None, 404)}
    meters.shutdown()


def exported(reader: InMemoryMetricReader) -> set[tuple[Any, int]]:
    """Return the exporter's count of spans by `error.type`."""
    return {
        (point.attributes.get("error.type"), point.value) for point in points(reader, "otel.sdk.exporter.span.exported")
    }


def durations(reader: InMemoryMetricReader) -> set[tuple[Any, Any]]:
    """Return the attributes of the exporter's durations."""
    found = points(reader, "otel.sdk.exporter.operation.duration")
    return {(p.attributes.get("error.type"), p.attributes.get("http.response.status_code")) for p in found}


def points(reader: InMemoryMetricReader, name: str) -> list[Any]:
    """Return the points of a metric."""
    data = reader.get_metrics_data()
    assert data is not None
    metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == name]
    return [point for metric in metrics for point in metric.data.data_points]
