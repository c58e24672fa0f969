"""Back ends that take no telemetry: away, silent, slow, or full."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType

_HOST = "127.0.0.1"
_SLOW_S = 1.0


@contextmanager
def away() -> Iterator[str]:
    """Yield an endpoint where nothing listens."""
    with socket.create_server((_HOST, 0)) as taken:
        port = taken.getsockname()[1]
    yield f"http://{_HOST}:{port}"


@contextmanager
def silent() -> Iterator[str]:
    """Yield an endpoint that accepts connections and never answers."""
    with socket.create_server((_HOST, 0), backlog=64) as listener:
        yield f"http://{_HOST}:{listener.getsockname()[1]}"


@contextmanager
def slow() -> Iterator[str]:
    """Yield an endpoint that takes a second for each export."""
    with _answering(HTTPStatus.OK, _SLOW_S) as endpoint:
        yield endpoint


@contextmanager
def refusing() -> Iterator[str]:
    """Yield an endpoint that always says that it is overloaded, which asks the exporter to retry."""
    with _answering(HTTPStatus.SERVICE_UNAVAILABLE, 0) as endpoint:
        yield endpoint


BAD_BACKENDS: Mapping[str, Callable[[], AbstractContextManager[str]]] = MappingProxyType(
    {"away": away, "silent": silent, "slow": slow, "refusing": refusing}
)
"""Each yields its endpoint for the length of a block."""


@contextmanager
def _answering(status: HTTPStatus, after_s: float) -> Iterator[str]:
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            closing.wait(after_s)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer((_HOST, 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://{_HOST}:{server.server_port}"
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=20)
