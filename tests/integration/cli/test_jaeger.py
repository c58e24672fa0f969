"""The client of Jaeger: which answers say that there is no such trace, and which say nothing at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest

from services.cli.errors import CannotRun
from services.cli.jaeger import Jaeger
from tests.servers.jaeger import JaegerAddress

TRACE = "0af7651916cd43dd8448eb211c80319c"
NO_SUCH_TRACE = {"error": {"httpCode": 404, "message": "No traces found"}}
# What stands at an address that is not Jaeger's: each answer is a status, and a body.
NOT_JAEGER: dict[str, tuple[int, object]] = {
    "a port of something else": (404, b"404 page not found\n"),
    "an empty answer": (404, b""),
    "another's API": (404, {"message": "Not found", "traceID": ""}),
    "a gateway's error": (404, {"code": 5, "message": "Not Found", "details": []}),
    "another error of Jaeger's": (404, {"error": {"httpCode": 500, "message": "no storage"}}),
    "an error that is text": (404, {"error": "not found"}),
    "a list": (404, [NO_SUCH_TRACE]),
    "a login page": (200, b"<html>log in</html>"),
    "a proxy without a back end": (502, b"<html>bad gateway</html>"),
    "Jaeger's own error": (500, {"error": {"httpCode": 500, "message": "no storage"}}),
    "an empty object": (200, {}),
    "no result": (200, {"result": None}),
    "a result without spans": (200, {"result": {}}),
    "spans that are no list": (200, {"result": {"resourceSpans": {}}}),
    "spans without ids": (200, {"result": {"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}}),
    "the API of Jaeger 1": (200, {"data": [], "errors": None}),
    "an answer that is cut off": (200, b'{"result":{"resourceSpans":['),
    "a compressed answer": (200, b"\x1f\x8b\x08"),
}


@contextmanager
def answering(status: int, body: object) -> Iterator[str]:
    """Serve one answer to every request; yield the address."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Write no log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("answer", NOT_JAEGER)
@pytest.mark.parametrize("read", [Jaeger.spans, Jaeger.document], ids=["spans", "document"])
def test_an_answer_that_is_not_jaegers_says_nothing_of_a_trace(
    read: Callable[[Jaeger, str], object], answer: str
) -> None:
    """What Jaeger does not say of a trace is an error that names the option, and never a trace that is missing."""
    with answering(*NOT_JAEGER[answer]) as url, pytest.raises(CannotRun, match="--jaeger"):
        read(Jaeger(url), TRACE)


def test_the_page_may_have_another_address() -> None:
    """Links lead to where people open Jaeger: to a trace, and to all traces of an order."""
    jaeger = Jaeger("http://jaeger:16686", "http://localhost:16686/")
    assert jaeger.page(TRACE) == f"http://localhost:16686/trace/{TRACE}"
    found = urlsplit(jaeger.search('o "1"&x'))
    assert f"{found.scheme}://{found.netloc}{found.path}" == "http://localhost:16686/search"
    asked = dict(parse_qsl(found.query))
    assert json.loads(asked.pop("tags")) == {"order.id": 'o "1"&x'}
    assert asked == {"service": "oms", "lookback": "7d"}


def test_jaegers_own_answer_is_a_missing_trace() -> None:
    """Only Jaeger's answer for an unknown trace is a trace without spans; a base path and a last slash are kept."""
    with answering(404, NO_SUCH_TRACE) as url:
        assert Jaeger(f"{url}/jaeger/").spans(TRACE) == ()


def test_the_real_jaeger_is_told_from_its_other_ports(jaeger: JaegerAddress) -> None:
    """The real Jaeger says of an unknown trace that it is missing; its other ports and wrong paths can't tell."""
    assert Jaeger(jaeger.url).spans(TRACE) == ()
    for wrong in (jaeger.otlp_http, f"{jaeger.url}/nowhere"):
        with pytest.raises(CannotRun, match="--jaeger"):
            Jaeger(wrong).spans(TRACE)
