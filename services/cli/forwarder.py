"""Forward telemetry to the user's endpoint: what the services send to the demo also goes there."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

_QUEUE_LENGTH: Final = 10_000
_TIMEOUT_S: Final = 5.0
_FLUSH_S: Final = 2.0
_END: Final = None
_TRACES: Final = "/v1/traces"


class Forwarder:
    """Forwards OTLP/HTTP requests in the background; a failed one is counted and not repeated.

    An endpoint that accepts only traces, as Jaeger does, answers 404 to metrics and logs: that is not a failure.

    Args:
        endpoint: The base URL, as in `OTEL_EXPORTER_OTLP_ENDPOINT`; http or https.
        headers: Sent with every request, as in `OTEL_EXPORTER_OTLP_HEADERS`.
    """

    def __init__(self, endpoint: str, headers: Mapping[str, str]) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._headers = dict(headers) | {"Content-Type": "application/x-protobuf"}
        self._queue: queue.Queue[tuple[str, bytes] | None] = queue.Queue(_QUEUE_LENGTH)
        self._thread = threading.Thread(target=self._send_all, name="otlp forwarder", daemon=True)
        #: Requests that did not arrive.
        self.failures = 0

    def put(self, path: str, body: bytes) -> None:
        """Queue a request for `/v1/traces`, `/v1/metrics` or `/v1/logs`."""
        try:
            self._queue.put_nowait((path, body))
        except queue.Full:
            self.failures += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        """Send what is queued, for two seconds at most."""
        deadline = time.monotonic() + _FLUSH_S
        while self._queue.full() and time.monotonic() < deadline:
            self._thread.join(timeout=0.05)
        if not self._queue.full():
            self._queue.put_nowait(_END)
        self._thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def _send_all(self) -> None:
        while (item := self._queue.get()) is not _END:
            path, body = item
            request = Request(self._endpoint + path, body, self._headers)  # noqa: S310  the settings accept http(s) only
            try:
                with urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310  as above
                    pass
            except (URLError, OSError) as error:
                self.failures += _is_failure(path, error)


def _is_failure(path: str, error: OSError) -> bool:
    is_unsupported = isinstance(error, HTTPError) and error.code == HTTPStatus.NOT_FOUND
    return path == _TRACES or not is_unsupported
