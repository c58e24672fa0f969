"""The span that shows a saga's whole life as one bar."""

from __future__ import annotations

from datetime import datetime

from opentelemetry import trace
from opentelemetry.trace import Span, StatusCode

from services.messaging import semconv
from services.messaging.trace_context import restore
from services.oms.records import FAILURES, Saga
from services.oms.saga import SagaState
from tracing.identity import known_as
from tracing.semconv import ERROR_TYPE


def write_span(saga: Saga) -> Span:
    """Write and return `saga order ...` for a saga that first ended, or `refund order ...` for a refund of it.

    The rest of the name says how it ended: `saga order failed: declined`.

    It is a child of the order's entry span, with explicit start and end, and is written after the commit that ended
    the saga, so that no span shows an end that was rolled back. If the process dies in between, the one that gets the
    same reply again writes it; its id follows from the saga, so that written twice it is one span.
    """
    began, end = _nanoseconds(saga.phase_began_at), _nanoseconds(saga.updated_at)
    attributes = {
        semconv.SAGA_ID: saga.saga_id,
        semconv.ORDER_ID: saga.order_id,
        semconv.SAGA_OUTCOME: saga.status,
    }
    failure = saga.reason if saga.state is SagaState.FAILED else None
    if failure:
        attributes[ERROR_TYPE] = failure
    is_refund = saga.state is SagaState.REFUNDED
    tracer, parent = trace.get_tracer(semconv.SCOPE_OMS), restore(saga.trace_context)
    with known_as(saga.saga_id, semconv.SPAN_REFUND_ORDER if is_refund else semconv.SPAN_SAGA_ORDER):
        span = tracer.start_span(_name(saga), context=parent, start_time=began, attributes=attributes)
    if failure:
        span.set_status(StatusCode.ERROR, failure)
    span.end(end_time=max(began, end))
    return span


def _name(saga: Saga) -> str:
    """Return the span's name; a reason that this version doesn't know is not in it, because names must be few."""
    if saga.state is SagaState.REFUNDED:
        return f"{semconv.SPAN_REFUND_ORDER} completed"
    is_known = saga.state is SagaState.FAILED and saga.reason in FAILURES
    return semconv.saga_span(saga.status, saga.reason if is_known else None)


def _nanoseconds(moment: datetime) -> int:
    """Return a time as OpenTelemetry counts it: integer nanoseconds since the epoch."""
    return round(moment.timestamp() * 1_000_000) * 1000
