"""An OTLP back end of a third party: OTLP/HTTP with a token, over TLS if it is given a certificate."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.cli.receiver import decoded

_MAKE_S = 300


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for `localhost` and 127.0.0.1, and its key."""

    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> Self:
        """Make a certificate that is valid for a day.

        Raises:
            FileNotFoundError: there is no openssl.
        """
        made = cls(folder / "ca.pem", folder / "key.pem")
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        files = ["-keyout", str(made.key), "-out", str(made.certificate)]
        subprocess.run([*command, *names, *files], check=True, capture_output=True, timeout=_MAKE_S)
        return made


class Backend:
    """Takes traces and metrics from clients that have the token, while it is entered.

    Args:
        token: What must follow `Bearer` in `authorization`.
        certificate: Its own; without one it speaks plain HTTP.
    """

    def __init__(self, token: str, certificate: Certificate | None = None) -> None:
        #: How many spans came, by their names, and metrics; and how many requests were refused.
        self.spans: Counter[str] = Counter()
        self.metrics: Counter[str] = Counter()
        self.refused = 0
        handler = type("_BoundHandler", (_Handler,), {"backend": self, "token": token})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads, self._server.block_on_close = True, False
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.certificate, certificate.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def endpoint(self) -> str:
        """The value for `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return f"{self._scheme}://localhost:{self._server.server_port}"

    def take(self, path: str, body: bytes) -> None:
        """Count what is in an export."""
        if path == "/v1/traces":
            traces: Any = ExportTraceServiceRequest.FromString(body)
            self.spans.update(s.name for r in traces.resource_spans for scope in r.scope_spans for s in scope.spans)
        elif path == "/v1/metrics":
            metrics: Any = ExportMetricsServiceRequest.FromString(body)
            found = (m.name for r in metrics.resource_metrics for scope in r.scope_metrics for m in scope.metrics)
            self.metrics.update(found)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=20)


class _Handler(BaseHTTPRequestHandler):
    """One connection of an exporter."""

    backend: Backend
    token: str
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_POST(self) -> None:
        """Take one export, or refuse it."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        known = self.headers.get("Authorization") == f"Bearer {self.token}"
        if known:
            self.backend.take(self.path, decoded(body, self.headers.get("Content-Encoding")))
        else:
            self.backend.refused += 1
        self.send_response(HTTPStatus.OK if known else HTTPStatus.UNAUTHORIZED)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class calls it so
        """Log nothing."""
