"""A client of Jaeger: it reads one trace by its id, over the stable `/api/v3`.

Jaeger 2.13 to 2.20 and later answer `GET /api/v3/traces/{trace id}` with `{"result": {"resourceSpans": [...]}}`, or
with 404 and `{"error": {"httpCode": 404, ...}}` if there is no such trace; any other 404 is of something that is not
Jaeger's query address, and says nothing about a trace. A trace that is still being written is returned as far as it is
stored. The JSON search API of Jaeger 1 is removed after 2.20, and is not used.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from services.cli.errors import CannotRun
from services.cli.traces.model import Span
from services.cli.traces.otlp import MalformedTrace, parse

_TIMEOUT_S = 10.0
_ENTRY = "oms"
_MAX_ERROR_BYTES = 64 * 1024


class Jaeger:
    """Reads traces from one Jaeger.

    Args:
        url: Its query address, `http://host:port` with the base path if it has one.
        page: The address of its page, where people reach it under another one.

    Raises:
        CannotRun: it is not an HTTP URL, or has a user or a password.
    """

    def __init__(self, url: str, page: str | None = None) -> None:
        if "@" in url:  # not shown in the error: it may contain a password
            raise CannotRun("--jaeger takes a URL without a user and a password, such as http://localhost:16686")
        if urlsplit(url).scheme not in {"http", "https"}:
            raise CannotRun(f"--jaeger takes a URL such as http://localhost:16686, not {url!r}")
        self._url = url.rstrip("/")
        self._page = (page or url).rstrip("/")

    def document(self, trace_id: str) -> dict[str, Any]:
        """Read a trace as OTLP/JSON; a document without spans if there is no such trace.

        Raises:
            CannotRun: Jaeger does not answer, or what answers is not Jaeger.
        """
        return self._read(trace_id)[0]

    def spans(self, trace_id: str) -> tuple[Span, ...]:
        """Read the spans of a trace; none if there is no such trace.

        Raises:
            CannotRun: see `document`.
        """
        return self._read(trace_id)[1]

    def _read(self, trace_id: str) -> tuple[dict[str, Any], tuple[Span, ...]]:
        document = self._answer(trace_id)
        try:
            return document, parse(document)
        except MalformedTrace as error:
            reason = f"the answer at {self._url} is not a trace ({error}): is --jaeger its query address?"
            raise CannotRun(reason) from error

    def _answer(self, trace_id: str) -> dict[str, Any]:
        request = Request(f"{self._url}/api/v3/traces/{trace_id}", headers={"Accept": "application/json"})  # noqa: S310
        try:
            with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310  the scheme is checked
                return _result(json.load(answer))
        except HTTPError as error:
            if _is_no_such_trace(error):
                return {"resourceSpans": []}
            raise CannotRun(f"{self._url} answers {error.code}: is --jaeger the query address of Jaeger?") from error
        except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
            raise CannotRun(f"no Jaeger answers at {self._url} ({type(error).__name__}): see --jaeger") from error

    def page(self, trace_id: str) -> str:
        """Return the address of a trace's page."""
        return f"{self._page}/trace/{trace_id}"

    def search(self, order_id: str) -> str:
        """Return the address of the page that lists all traces of an order of the last week: it, and its requests."""
        tags = urlencode({"tags": json.dumps({"order.id": order_id}, separators=(",", ":"))})
        return f"{self._page}/search?service={_ENTRY}&lookback=7d&{tags}"


def _result(body: Any) -> dict[str, Any]:  # noqa: ANN401  whatever answers, it is JSON
    """Return the trace in Jaeger's answer; a KeyError or TypeError says that the answer is not Jaeger's."""
    result: dict[str, Any] = body["result"]
    if not isinstance(result["resourceSpans"], list):
        raise TypeError("resourceSpans is not a list")
    return result


def _is_no_such_trace(error: HTTPError) -> bool:
    """Return whether this is Jaeger's own answer for an unknown trace, and not the 404 of a wrong port or path."""
    if error.code != HTTPStatus.NOT_FOUND:
        return False
    try:
        said = json.loads(error.read(_MAX_ERROR_BYTES))
    except (OSError, HTTPException, ValueError):
        return False
    reason = said.get("error") if isinstance(said, dict) else None
    return isinstance(reason, dict) and reason.get("httpCode") == HTTPStatus.NOT_FOUND
