"""What spans are told about sagas and messages, and a trace context as a row keeps it.

A context is a small JSON value, by which later work continues the same trace. Only the W3C trace context is stored
(`traceparent`, `tracestate`), whatever propagator the process has: baggage is somebody else's data. Beside it may be
the `traceparent` of another span, which caused the work (`caused_by`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from uuid import UUID

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import tracing
from services.contracts import Message
from services.contracts.commands import UNDOES
from services.contracts.replies import Refusal
from services.messaging import semconv
from tracing import wire
from tracing.exposure import expose
from tracing.linking import with_links
from tracing.semconv import ERROR_TYPE, LINK_TYPE, MESSAGING_MESSAGE_CONVERSATION_ID, MESSAGING_MESSAGE_ID

CAUSED_BY = "caused_by"

_W3C = TraceContextTextMapPropagator()


def capture(context: Context | None = None) -> dict[str, str]:
    """Return the current span's context, for a row that is about to be committed; empty without a span."""
    expose(context)
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, context)
    return carrier


def capture_below(parent: Mapping[str, str]) -> dict[str, str]:
    """Return a context that was captured earlier, with the current span as the cause of what is continued from it.

    Nothing becomes a child of the current span, so it need not be announced. Without an earlier context it is captured.
    """
    if span_context(parent) is None:
        return capture()
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    cause = carrier.get("traceparent")
    return dict(parent) if cause is None else {**parent, CAUSED_BY: cause}


def capture_turn(saga: Mapping[str, str]) -> dict[str, str]:
    """Return the current span's context, for what a request or a timer makes a saga send.

    A program without telemetry has no span of its own there, only the saga's: then that is the cause, too.
    """
    current = capture()
    is_the_sagas = bool(current) and span_context(current) == span_context(saga)
    return {**current, CAUSED_BY: current["traceparent"]} if is_the_sagas else current


def restore(carrier: Mapping[str, str] | None) -> Context:
    """Return a context that holds what was captured and nothing else: no baggage, no bound attributes.

    What is sent in it links to the cause, if one was captured (`link.type=caused_by`).
    """
    captured = span_context(carrier)
    if carrier is None or captured is None:
        return Context()
    context = trace.set_span_in_context(NonRecordingSpan(captured), Context())
    cause = span_context({"traceparent": carrier.get(CAUSED_BY, "")})
    return context if cause is None else with_links(context, Link(cause, {LINK_TYPE: semconv.LINK_CAUSED_BY}))


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


def about(event_type: str, event_id: UUID, saga_id: str) -> dict[str, str | bool]:
    """Return what the send and process spans of a message say about it; its type also names them.

    What a command undoes is an attribute too, because not every back end shows what a link says.
    """
    known: dict[str, str | bool] = {
        MESSAGING_MESSAGE_ID: str(event_id),
        MESSAGING_MESSAGE_CONVERSATION_ID: saga_id,
        semconv.SAGATRACE_MESSAGE_TYPE: event_type,
    }
    undone = UNDOES.get(event_type)
    return known if undone is None else known | {semconv.SAGA_COMPENSATION: True, semconv.SAGA_COMPENSATES: undone}


def mark_refusal(reply: Message) -> None:
    """Mark the current span as the one that said no, if this is its reply, once the transaction is committed.

    The status is ERROR, because that is what a reader of a trace looks for. Metrics count no error: the command was
    processed as it should be, and nobody is to be alerted (docs/tracing/order.md, "What failed, and who said no").
    """
    if isinstance(reply.payload, Refusal):
        span = trace.get_current_span()
        last = reply.event_type.rpartition(".")[2]
        span.set_attributes({ERROR_TYPE: last, semconv.SAGATRACE_REPLY_TYPE: reply.event_type})
        span.set_status(StatusCode.ERROR, reply.event_type)


def link_compensated(carrier: Mapping[str, str] | None) -> None:
    """Link the current span to the span whose effect it undoes (`link.type=compensates`), if one was captured."""
    undone = span_context(carrier)
    if undone is not None:
        trace.get_current_span().add_link(undone, {LINK_TYPE: semconv.COMPENSATES})
