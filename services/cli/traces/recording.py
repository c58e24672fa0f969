"""The spans of one run in memory, both as OTLP/JSON and as values."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Any

from services.cli.traces.model import Span
from services.cli.traces.otlp import parse, select

MAX_SPANS = 200_000


class Recording:
    """Keeps at most `limit` spans; safe for threads."""

    def __init__(self, limit: int = MAX_SPANS) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._resource_spans: list[Mapping[str, Any]] = []
        self._spans: list[Span] = []

    def add(self, document: Mapping[str, Any]) -> int:
        """Keep the spans of an OTLP/JSON document, all or none, and return how many were rejected.

        Raises:
            MalformedTrace: the document has another shape.
        """
        spans = parse(document)
        with self._lock:
            if len(self._spans) + len(spans) > self._limit:
                return len(spans)
            self._resource_spans.extend(document.get("resourceSpans", ()))
            self._spans.extend(spans)
        return 0

    def spans(self) -> tuple[Span, ...]:
        """Return all spans, in the order in which they were received."""
        with self._lock:
            return tuple(self._spans)

    def document(self, trace_ids: Collection[str]) -> dict[str, Any]:
        """Return the spans of some traces as one OTLP/JSON document."""
        with self._lock:
            resource_spans = tuple(self._resource_spans)
        return select(resource_spans, trace_ids)
