"""A trace context as a small JSON value: what a row keeps so that later work continues the same trace.

The W3C trace context only (`traceparent`, `tracestate`), whatever propagator the process has: baggage is somebody
else's data and is never stored.
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import tracing
from tracing import semconv

_W3C = TraceContextTextMapPropagator()


def capture(context: Context | None = None) -> dict[str, str]:
    """Write down the current span's context, for a row that is about to be committed; empty without a span."""
    tracing.expose(context)
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, context)
    return carrier


def restore(carrier: Mapping[str, str] | None) -> Context:
    """Make a context that holds what was captured and nothing else: no baggage, no bound attributes."""
    return _W3C.extract(carrier or {}, Context())


def span_context(carrier: Mapping[str, str] | None) -> SpanContext | None:
    """Tell which span was captured, for a link to it; None if there was none."""
    found = trace.get_current_span(restore(carrier)).get_span_context()
    return found if found.is_valid else None


def link_compensated(carrier: Mapping[str, str] | None) -> None:
    """Link the current span to the span whose effect it undoes (`link.type=compensates`), if one was captured."""
    undone = span_context(carrier)
    if undone is not None:
        trace.get_current_span().add_link(undone, {semconv.LINK_TYPE: semconv.COMPENSATES})
