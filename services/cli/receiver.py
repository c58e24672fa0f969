"""An OTLP/HTTP receiver on a free loopback port.

It accepts what an SDK's exporter sends (OTLP specification, "OTLP/HTTP"): `/v1/traces`, `/v1/metrics` and `/v1/logs`,
binary protobuf, plain or gzip. Spans are kept, metrics and logs are acknowledged; everything is also forwarded to
another endpoint if there is one. Spans beyond the limit are a partial success, so that the exporter does not retry.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from services.cli.forwarder import Forwarder
from services.cli.traces.otlp import MalformedTrace
from services.cli.traces.protobuf import to_json
from services.cli.traces.recording import Recording

MAX_BODY_BYTES = 16 * 1024 * 1024

_PROTOBUF = "application/x-protobuf"
_TRACES = "/v1/traces"
_ACKNOWLEDGE: Mapping[str, bytes] = {
    "/v1/metrics": ExportMetricsServiceResponse().SerializeToString(),
    "/v1/logs": ExportLogsServiceResponse().SerializeToString(),
}
_GZIP = zlib.MAX_WBITS | 16


class RequestRefused(Exception):
    """The request can't be accepted; `status` is the HTTP status to answer with."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Receiver:
    """Receives while its context is entered; `endpoint` is the value for `OTEL_EXPORTER_OTLP_ENDPOINT`.

    Args:
        recording: Where the spans go.
        forwarder: Forwards every request; by default nothing is forwarded.
    """

    def __init__(self, recording: Recording, *, forwarder: Forwarder | None = None) -> None:
        handler = type("_BoundHandler", (_Handler,), {"recording": recording, "forwarder": forwarder})
        self._server = _HTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def endpoint(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=2)


class _HTTPServer(ThreadingHTTPServer):
    """A server that does not wait for connections that exporters keep open."""

    daemon_threads = True
    block_on_close = False


class _Handler(BaseHTTPRequestHandler):
    """One connection of an exporter."""

    recording: Recording
    forwarder: Forwarder | None
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self) -> None:
        """Handle one export."""
        try:
            body = self._body()
            answer = self._accept(body)
        except RequestRefused as refused:
            self.close_connection = True
            self._answer(refused.status, Status(message=str(refused)).SerializeToString())
            return
        if self.forwarder is not None:
            self.forwarder.put(self.path, body)
        self._answer(HTTPStatus.OK, answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Log nothing: standard error belongs to the user."""

    def _accept(self, body: bytes) -> bytes:
        if self.path in _ACKNOWLEDGE:
            return _ACKNOWLEDGE[self.path]
        if self.path != _TRACES:
            raise RequestRefused(HTTPStatus.NOT_FOUND, "this receiver has /v1/traces, /v1/metrics and /v1/logs")
        answer = ExportTraceServiceResponse()
        try:
            rejected = self.recording.add(to_json(body))
        except MalformedTrace as error:
            raise RequestRefused(HTTPStatus.BAD_REQUEST, str(error)) from error
        if rejected:
            answer.partial_success.rejected_spans = rejected
            answer.partial_success.error_message = "this receiver is full"
        content: bytes = answer.SerializeToString()
        return content

    def _body(self) -> bytes:
        if self.headers.get_content_type() != _PROTOBUF:
            raise RequestRefused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"only {_PROTOBUF} is accepted")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise RequestRefused(HTTPStatus.LENGTH_REQUIRED, "the request has no Content-Length")
        if int(length) > MAX_BODY_BYTES:
            raise RequestRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has at most {MAX_BODY_BYTES} bytes")
        return decoded(self.rfile.read(int(length)), self.headers.get("Content-Encoding"))

    def _answer(self, status: HTTPStatus, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", _PROTOBUF)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def decoded(body: bytes, encoding: str | None) -> bytes:
    """Undo a request's content encoding, up to the size limit of a request.

    Raises:
        RequestRefused: the encoding is not gzip, or the body is not gzip or is too large.
    """
    if encoding in (None, "identity"):
        return body
    if encoding != "gzip":
        raise RequestRefused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "only gzip is accepted as Content-Encoding")
    unpacking = zlib.decompressobj(_GZIP)
    try:
        plain = unpacking.decompress(body, MAX_BODY_BYTES)
    except zlib.error as error:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "the body is not gzip") from error
    if unpacking.unconsumed_tail:
        raise RequestRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has at most {MAX_BODY_BYTES} bytes")
    return plain
