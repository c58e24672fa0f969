"""Requests that only read, without spans of their own: they change no order, and are most of all requests.

They are counted like all others (`http.server.request.duration`). A read with a sampled parent has its span: somebody
follows that trace. It is decided before a read has begun, so one that fails has no span either; it is in the log, and
counted by its status.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.semconv.attributes.http_attributes import HTTP_REQUEST_METHOD
from opentelemetry.trace import Link, NonRecordingSpan, NoOpTracer, Span, SpanKind, Tracer, TracerProvider
from opentelemetry.util.types import Attributes

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""The methods that change nothing (RFC 9110, section 9.2.1)."""


class WithoutReads(TracerProvider):
    """The global tracer provider, for an HTTP server whose reads have a span only in somebody's trace."""

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes | None = None,
    ) -> Tracer:
        """Return a tracer that records no read of its own."""
        return _Tracer(
            trace.get_tracer(
                instrumenting_module_name, instrumenting_library_version, schema_url=schema_url, attributes=attributes
            )
        )


class _Tracer(NoOpTracer):
    """Starts the spans of requests, which is all that FastAPI asks for without its spans of operations."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def start_span(  # noqa: PLR0913, PLR0917 - the signature of the API
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: FBT001, FBT002 - as above
        set_status_on_exception: bool = True,  # noqa: FBT001, FBT002 - as above
    ) -> Span:
        parent = trace.get_current_span(context).get_span_context()
        if (attributes or {}).get(HTTP_REQUEST_METHOD) in _SAFE and not parent.trace_flags.sampled:
            return NonRecordingSpan(parent)
        return self._tracer.start_span(
            name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
        )
