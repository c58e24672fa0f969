"""`tracing.inject` and `tracing.extract`: trace context in and out of Kafka headers, for code that sends by hand.

Instrumented clients do this by themselves. Both functions accept headers as a list, a tuple, None or anything else,
never raise because of their argument, and do not change it.
"""

from __future__ import annotations

from opentelemetry.context import Context, get_current
from opentelemetry.trace import SpanContext

from tracing import faults
from tracing.headers import Header, pairs
from tracing.telemetry import current
from tracing.wire import Propagation


def inject(headers: object, context: Context | None = None) -> list[Header]:
    """Return the headers in a new list, with trace context that replaces any that they had.

    Args:
        headers: `(name, bytes or None)` pairs; other entries are left out.
        context: the context to write; the current one by default. Without a span in it the headers stay as they are.
    """
    clean = pairs(headers)
    try:
        return current().propagation.inject(clean, get_current() if context is None else context)
    except Exception as error:  # noqa: BLE001 - a foreign propagator must never cost a message
        faults.report("writing trace context", error)
        return clean


def extract(headers: object) -> Context:
    """Return a context with only what the headers carry; an empty one if they carry nothing valid."""
    return extract_onto(current().propagation, headers, Context())[0]


def extract_onto(propagation: Propagation, headers: object, context: Context) -> tuple[Context, SpanContext | None]:
    """Return the context with the span and baggage of the headers added, and the span context in the headers."""
    try:
        return propagation.extract(headers, context)  # type: ignore[arg-type]  # a wrong type raises, and is caught
    except Exception:  # noqa: BLE001 - headers that are not pairs; those that are pairs may still be good
        clean = pairs(headers)
    try:
        return propagation.extract(clean, context)
    except Exception as error:  # noqa: BLE001 - a foreign propagator must never cost a record
        faults.report("reading trace context", error)
        return context, None
