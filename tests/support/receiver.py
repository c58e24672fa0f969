"""An OTLP receiver in the test's own process, which does as it is told: take, wait, refuse."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc  # type: ignore[import-untyped]  # its types are a package of their own
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

UNAVAILABLE = 503


class Receiver:
    """What has arrived, and how the next requests are answered."""

    def __init__(self) -> None:
        self.address = ""
        #: Span names, in the order of their arrival.
        self.names: list[str] = []
        self.sizes: list[int] = []
        self.headers: dict[str, str] = {}
        #: Requests that have come in, answered or not.
        self.requests = 0
        #: HTTP statuses of the next answers; without one a request is taken.
        self.answers: list[int] = []
        #: Set while requests are answered; cleared, they wait.
        self.answering = threading.Event()
        self.answering.set()

    def take(self, body: bytes) -> int:
        """Take a request and return the status of its answer."""
        self.requests += 1
        self.answering.wait(30)
        if self.answers:
            return self.answers.pop(0)
        request = ExportTraceServiceRequest.FromString(body)
        spans = [span for found in request.resource_spans for scope in found.scope_spans for span in scope.spans]
        self.names += [span.name for span in spans]
        self.sizes.append(len(spans))
        return 200


@contextmanager
def http_receiver() -> Iterator[Receiver]:
    """Receive over HTTP."""
    receiver = Receiver()

    class Exchange(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.headers = dict(self.headers)
            status = receiver.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    receiver.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield receiver
    finally:
        receiver.answering.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def grpc_receiver() -> Iterator[Receiver]:
    """Receive over gRPC."""
    receiver = Receiver()
    codes = {UNAVAILABLE: grpc.StatusCode.UNAVAILABLE, 400: grpc.StatusCode.INVALID_ARGUMENT}

    class Service(TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - grpc's name
            receiver.headers = dict(context.invocation_metadata())
            status = receiver.take(request.SerializeToString())
            if status != 200:
                context.abort(codes[status], "as told")
            return ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(Service(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    receiver.address = f"http://127.0.0.1:{port}"
    try:
        yield receiver
    finally:
        receiver.answering.set()
        server.stop(0).wait(5)
