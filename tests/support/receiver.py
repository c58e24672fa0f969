"""An OTLP receiver in the test's own process, which takes, delays or refuses as a test decides."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

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


class Refusal(NamedTuple):
    """An answer that takes nothing: an HTTP status or the name of a gRPC code, its text, its headers or trailers."""

    status: int | str
    text: str = ""
    metadata: tuple[tuple[str, Any], ...] = ()


class Receiver:
    """What has arrived, and how the next requests are answered."""

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.address = ""
        #: Span names, in the order of their arrival.
        self.names: list[str] = []
        self.spans: list[Any] = []
        self.sizes: list[int] = []
        self.headers: dict[str, str] = {}
        #: Over HTTP, the names by the connection that they came on, and the connections that brought metrics.
        self.by_connection: dict[Any, list[str]] = {}
        self.here = threading.local()
        self.metrics_by: set[Any] = set()
        #: Requests that could not be read.
        self.broken = 0
        #: Requests that have come in, answered or not.
        self.requests = 0
        #: HTTP statuses of the next answers; without one a request is taken.
        self.answers: list[int] = []
        #: Asked with the bytes of each request; it is refused if this returns a refusal.
        self.rule: Callable[[int], Refusal | None] = lambda _: None
        #: Spans that each answer says were rejected.
        self.rejects = 0
        #: Set while requests are answered; cleared, they wait.
        self.answering = threading.Event()
        self.answering.set()

    def take(self, body: bytes) -> int | Refusal:
        """Take a request and return the status of its answer."""
        self.requests += 1
        self.answering.wait(30)
        if self.answers:
            return self.answers.pop(0)
        refusal = self.rule(len(body))
        if refusal is not None:
            return refusal
        request = ExportTraceServiceRequest.FromString(body)
        spans = [span for found in request.resource_spans for scope in found.scope_spans for span in scope.spans]
        self.names += [span.name for span in spans]
        self.spans += spans
        self.by_connection.setdefault(getattr(self.here, "connection", None), []).extend(span.name for span in spans)
        self.sizes.append(len(spans))
        return 200

    def response(self) -> ExportTraceServiceResponse:
        """Return what an accepted request is answered with."""
        response = ExportTraceServiceResponse()
        if self.rejects:
            response.partial_success.rejected_spans = self.rejects
        return response


@contextmanager
def http_receiver() -> Iterator[Receiver]:
    """Receive over HTTP."""
    receiver = Receiver("http")

    class Exchange(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            receiver.headers = dict(self.headers)
            if self.path == "/v1/metrics":
                receiver.metrics_by.add(self.client_address)
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            receiver.here.connection = self.client_address
            taken = receiver.take(self.rfile.read(int(self.headers["Content-Length"])))
            refusal = taken if isinstance(taken, Refusal) else Refusal(taken)
            body = receiver.response().SerializeToString() if refusal.status == 200 else refusal.text.encode()
            self.send_response(int(refusal.status))
            for name, value in refusal.metadata:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            receiver.broken += 1

    server = Server(("127.0.0.1", 0), Exchange)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    receiver.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield receiver
    finally:
        receiver.answering.set()
        server.shutdown()
        server.server_close()
        thread.join(50)


@contextmanager
def grpc_receiver() -> Iterator[Receiver]:
    """Receive over gRPC."""
    receiver = Receiver("grpc")
    codes = {UNAVAILABLE: grpc.StatusCode.UNAVAILABLE, 400: grpc.StatusCode.INVALID_ARGUMENT}

    class Service(TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - grpc's name
            receiver.headers = dict(context.invocation_metadata())
            taken = receiver.take(request.SerializeToString())
            if isinstance(taken, Refusal):
                context.set_trailing_metadata(taken.metadata)
                context.abort(getattr(grpc.StatusCode, str(taken.status)), taken.text)
            elif taken != 200:
                context.abort(codes[taken], "as told")
            return receiver.response()

    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(Service(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    receiver.address = f"http://127.0.0.1:{port}"
    try:
        yield receiver
    finally:
        receiver.answering.set()
        server.stop(0).wait(50)
