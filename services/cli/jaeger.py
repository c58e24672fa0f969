"""A client of Jaeger: it reads one trace by its id, over the stable `/api/v3`.

Jaeger 2.13 to 2.20 and later answer `GET /api/v3/traces/{trace id}` with `{"result": {"resourceSpans": [...]}}`, or
with 404 if there is no such trace. A trace that is still being written is returned as far as it is stored.
The JSON search API of Jaeger 1 is removed after 2.20, and is not used.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from services.cli.errors import CannotRun
from services.cli.traces.model import Span
from services.cli.traces.otlp import MalformedTrace, parse

_TIMEOUT_S = 10.0


class Jaeger:
    """Reads traces from one Jaeger.

    Args:
        url: Its query address, `http://host:port` with the base path if it has one.

    Raises:
        CannotRun: it is not an HTTP URL, or has a user or a password.
    """

    def __init__(self, url: str) -> None:
        if "@" in url:  # not shown in the error: it may contain a password
            raise CannotRun("--jaeger takes a URL without a user and a password, such as http://localhost:16686")
        if urlsplit(url).scheme not in {"http", "https"}:
            raise CannotRun(f"--jaeger takes a URL such as http://localhost:16686, not {url!r}")
        self._url = url.rstrip("/")

    def document(self, trace_id: str) -> dict[str, Any]:
        """Read a trace as OTLP/JSON; a document without spans if there is no such trace.

        Raises:
            CannotRun: Jaeger does not answer, or answers with something else.
        """
        request = Request(f"{self._url}/api/v3/traces/{trace_id}", headers={"Accept": "application/json"})  # noqa: S310
        try:
            with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310  the scheme is checked
                result: dict[str, Any] = json.load(answer)["result"]
                return result
        except HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return {"resourceSpans": []}
            raise CannotRun(f"Jaeger at {self._url} answers {error.code}: is --jaeger its query address?") from error
        except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
            raise CannotRun(f"no Jaeger answers at {self._url} ({type(error).__name__}): see --jaeger") from error

    def spans(self, trace_id: str) -> tuple[Span, ...]:
        """Read the spans of a trace; none if there is no such trace.

        Raises:
            CannotRun: see `document`.
        """
        try:
            return parse(self.document(trace_id))
        except MalformedTrace as error:
            raise CannotRun(f"Jaeger at {self._url} answers with something that is not a trace: {error}") from error

    def page(self, trace_id: str) -> str:
        """Return the address of a trace's page."""
        return f"{self._url}/trace/{trace_id}"
