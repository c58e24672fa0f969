"""A trace context as a small JSON value, which a row keeps so that later work continues the same trace.

Only the W3C trace context is stored (`traceparent`, `tracestate`), whatever propagator the process has: baggage is
somebody else's data.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import tracing
from services.messaging import semconv
from tracing import wire
from tracing.exposure import expose
from tracing.semconv import LINK_TYPE

_W3C = TraceContextTextMapPropagator()


def capture(context: Context | None = None) -> dict[str, str]:
    """Return the current span's context, for a row that is about to be committed; empty without a span."""
    expose(context)
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, context)
    return carrier


def restore(carrier: Mapping[str, str] | None) -> Context:
    """Return a context that holds what was captured and nothing else: no baggage, no bound attributes."""
    captured = span_context(carrier)
    if captured is None:
        return Context()
    return trace.set_span_in_context(NonRecordingSpan(captured), Context())


def span_context(carrier: Mapping[str, str] | None) -> SpanContext | None:
    """Return the span context that was captured, for a link to it; None if there was none."""
    if not carrier or (traceparent := carrier.get("traceparent")) is None:
        return None
    tracestate = carrier.get("tracestate")
    return wire.parse(_bytes(traceparent), None if tracestate is None else _bytes(tracestate))


def _bytes(value: str) -> bytes:
    """Encode any text, even one that no header could hold."""
    return value.encode(errors="replace")


def bind_saga(saga_id: str, order_id: str, **attributes: object) -> AbstractContextManager[object]:
    """Put a saga's ids, and further attributes, on the current span and on all below; the saga is the conversation."""
    ids = {semconv.SAGA_ID: saga_id, semconv.ORDER_ID: order_id}
    return tracing.bind(semconv.SAGA_ID, **ids, **attributes)


def link_compensated(carrier: Mapping[str, str] | None) -> None:
    """Link the current span to the span whose effect it undoes (`link.type=compensates`), if one was captured."""
    undone = span_context(carrier)
    if undone is not None:
        trace.get_current_span().add_link(undone, {LINK_TYPE: semconv.COMPENSATES})
