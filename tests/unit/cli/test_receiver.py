"""The receiver takes what an official exporter sends, and what it keeps is valid OTLP/JSON."""

import gzip
import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanKind, StatusCode, format_span_id, format_trace_id

from services.cli.forwarder import Forwarder
from services.cli.receiver import MAX_BODY_BYTES, Receiver
from services.cli.traces.model import Kind
from services.cli.traces.otlp import parse
from services.cli.traces.recording import Recording
from tests.support.eventually import eventually


@pytest.fixture
def recording() -> Recording:
    """Where the receiver keeps spans."""
    return Recording()


@pytest.fixture
def receiver(recording: Recording) -> Iterator[Receiver]:
    """A receiver that is listening."""
    with Receiver(recording) as entered:
        yield entered


def _record(endpoint: str, compression: Compression = Compression.NoCompression) -> tuple[str, str, str]:
    """Export two spans, and return the trace's id and the spans' ids."""
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(
        SimpleSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces", compression=compression)),
    )
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("outer", kind=SpanKind.SERVER, attributes={"n": 7, "list": ["a", "b"]}) as outer:
        links = [Link(outer.get_span_context(), {"link.type": "compensates"})]
        with tracer.start_as_current_span("inner", links=links) as inner:
            inner.add_event("retry", {"attempt": 2})
            inner.set_status(StatusCode.ERROR, "declined")
    provider.shutdown()
    context = outer.get_span_context()
    ids = format_span_id(context.span_id), format_span_id(inner.get_span_context().span_id)
    return format_trace_id(context.trace_id), *ids


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_an_official_exporter_is_understood(receiver: Receiver, recording: Recording, compression: Compression) -> None:
    """Spans arrive with their ids, kinds, attributes, links, events and status."""
    trace_id, outer_id, inner_id = _record(receiver.endpoint, compression)
    inner, outer = recording.spans()
    assert (outer.trace_id, outer.span_id, outer.parent_id) == (trace_id, outer_id, None)
    assert (outer.service, outer.name, outer.kind) == ("shop", "outer", Kind.SERVER)
    assert outer.attributes == {"n": 7, "list": ("a", "b")}
    assert (inner.span_id, inner.parent_id, inner.kind) == (inner_id, outer_id, Kind.INTERNAL)
    assert (inner.is_error, inner.status) == (True, "declined")
    assert [(link.span_id, link.attributes) for link in inner.links] == [(outer_id, {"link.type": "compensates"})]
    assert [(event.name, event.attributes) for event in inner.events] == [("retry", {"attempt": 2})]
    assert outer.start_ns <= inner.start_ns <= inner.end_ns <= outer.end_ns


def test_what_is_kept_is_otlp_json(receiver: Receiver, recording: Recording) -> None:
    """The document has hex ids and enums as numbers, holds the chosen traces only, and reads back as the same spans."""
    kept, *_ = _record(receiver.endpoint)
    _record(receiver.endpoint)
    document = json.loads(json.dumps(recording.document({kept})))
    raw = [
        span for resource in document["resourceSpans"] for scope in resource["scopeSpans"] for span in scope["spans"]
    ]
    assert {span["traceId"] for span in raw} == {kept}
    assert sorted(span["kind"] for span in raw) == [1, 2]
    assert all(isinstance(span["startTimeUnixNano"], str) for span in raw)
    assert list(parse(document)) == [span for span in recording.spans() if span.trace_id == kept]


def _post(receiver: Receiver, path: str, body: bytes, **headers: str) -> tuple[int, str | None, bytes]:
    address = urlsplit(receiver.endpoint)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=50)
    named = {"Content-Type": "application/x-protobuf"} | {key.replace("_", "-"): text for key, text in headers.items()}
    connection.request("POST", path, body, named)
    answer = connection.getresponse()
    content = answer.status, answer.getheader("Content-Type"), answer.read()
    connection.close()
    return content


@pytest.mark.parametrize("path", ["/v1/metrics", "/v1/logs"])
def test_metrics_and_logs_are_acknowledged(receiver: Receiver, path: str) -> None:
    """Metrics and logs get an empty success, so that no exporter complains."""
    assert _post(receiver, path, b"whatever") == (200, "application/x-protobuf", b"")


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        pytest.param("/v1/profiles", b"", {}, 404, id="another path"),
        pytest.param("/v1/traces", b"\xff\xff", {}, 400, id="no protobuf"),
        pytest.param("/v1/traces", b"plain", {"Content_Encoding": "gzip"}, 400, id="no gzip"),
        pytest.param("/v1/traces", b"", {"Content_Encoding": "br"}, 415, id="another encoding"),
        pytest.param("/v1/traces", b"{}", {"Content_Type": "application/json"}, 415, id="json"),
        pytest.param(
            "/v1/traces", gzip.compress(bytes(MAX_BODY_BYTES + 1)), {"Content_Encoding": "gzip"}, 413, id="a gzip bomb"
        ),
    ],
)
def test_what_it_does_not_take_is_refused(
    receiver: Receiver, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    """A request that is no export gets the status that says why."""
    assert _post(receiver, path, body, **headers)[0] == status


def test_ids_of_a_wrong_length_are_refused(receiver: Receiver, recording: Recording) -> None:
    """A span whose ids are not ids is a bad request, and nothing is kept."""
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"short", span_id=b"short")
    assert _post(receiver, "/v1/traces", request.SerializeToString())[0] == 400
    assert recording.spans() == ()


def test_a_full_recording_is_a_partial_success() -> None:
    """Spans beyond the bound are rejected by number, and the exporter is not asked to try again."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in range(3):
        spans.add(trace_id=bytes(15) + b"1", span_id=bytes(7) + bytes([number + 1]))
    with Receiver(Recording(limit=2)) as receiver:
        status, _, body = _post(receiver, "/v1/traces", request.SerializeToString())
    answer = ExportTraceServiceResponse.FromString(body)
    assert (status, answer.partial_success.rejected_spans) == (200, 3)


async def test_what_is_received_goes_on(recording: Recording) -> None:
    """With an endpoint to forward to, the spans are kept here and arrive there too."""
    there = Recording()
    with (
        Receiver(there) as far,
        Forwarder(far.endpoint, {}) as forwarder,
        Receiver(recording, forwarder=forwarder) as near,
    ):
        _record(near.endpoint, Compression.Gzip)
        await eventually(lambda: there.spans() == recording.spans())
    assert len(recording.spans()) == 2
    assert forwarder.failures == 0


async def test_an_endpoint_that_is_away_costs_nothing_but_a_count(recording: Recording) -> None:
    """If nobody is at the endpoint, the spans are kept here all the same."""
    with Receiver(Recording()) as gone:
        endpoint = gone.endpoint
    with Forwarder(endpoint, {}) as forwarder, Receiver(recording, forwarder=forwarder) as near:
        _record(near.endpoint)
        await eventually(lambda: forwarder.failures == 2)
    assert len(recording.spans()) == 2


async def test_an_endpoint_may_take_traces_alone() -> None:
    """Metrics that an endpoint knows no path for are not counted as lost; traces are."""
    with Receiver(Recording()) as far, Forwarder(f"{far.endpoint}/elsewhere", {}) as forwarder:
        forwarder.put("/v1/metrics", b"")
        forwarder.put("/v1/traces", b"")
        await eventually(lambda: forwarder.failures == 1)
