"""The OTLP/HTTP receiver of the benchmark: it counts the spans of each worker and discards them.

`POST /WORKER/v1/traces` (and `/v1/metrics`) takes an export; `GET /WORKER` answers with the number of spans so far.
As a program it prints its address on one line and runs until standard input closes.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.request import urlopen

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

#: Seconds for one answer.
_TIMEOUT_S: Final = 10.0


class Sink(ThreadingHTTPServer):
    """The receiver, on a free port of this machine."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self._lock = threading.Lock()
        self._spans: Counter[str] = Counter()

    def receive(self, worker: str, body: bytes) -> None:
        """Count the spans of one export."""
        request = ExportTraceServiceRequest.FromString(body)
        count = sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
        with self._lock:
            self._spans[worker] += count

    def count(self, worker: str) -> int:
        """Return how many spans a worker has exported."""
        with self._lock:
            return self._spans[worker]


class _Exchange(BaseHTTPRequestHandler):
    server: Sink
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        worker, _, signal = self.path.strip("/").partition("/")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if signal == "v1/traces":
            self.server.receive(worker, body)
        self._answer(b"", "application/x-protobuf")

    def do_GET(self) -> None:
        self._answer(str(self.server.count(self.path.strip("/"))).encode(), "text/plain")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the base class's signature
        """Say nothing: standard error belongs to the progress of the run."""


def received(address: str) -> int:
    """Return the number of spans that a sink has received so far.

    Args:
        address: one worker's address at the sink: `http://host:port/WORKER`.
    """
    with urlopen(address, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - the address is that of our own child
        return int(answer.read())


def serve() -> None:
    """Serve until standard input closes."""
    sink = Sink()
    threading.Thread(target=sink.serve_forever, name="sink", daemon=True).start()
    print(f"http://127.0.0.1:{sink.server_port}", flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    serve()
