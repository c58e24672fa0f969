"""Pages of made-up traces: the five of a demo, a long one, a deep one, and one that is hostile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import pairwise

from services.cli.traces.model import Event, Span
from services.cli.traces.page import TraceSection, page
from services.contracts.topics import INVENTORY_COMMANDS, ORDER_EVENTS, SAGA_REPLIES
from tests.support.saga_traces import MS, TraceBuilder, changed, completed, declined, doing, redriven, refunded
from tests.support.strange import Strange

JAEGER = "http://localhost:16686/trace/"
MARKUP = "\"'><script>alert(1)</script><img src=//evil.example/x onerror=alert(1)>"

_WAIT_MS = 12.5


@cache
def five_traces() -> str:
    """Return a page with five sagas: completed, declined, refunded, re-driven, and one that was declined too."""
    traces = {
        "Completed": completed("saga-1"),
        "Payment declined": declined("saga-2"),
        "Refunded": refunded("saga-3"),
        "Re-driven": redriven("saga-4"),
        "Declined again": declined("saga-5"),
    }
    return page("Five order sagas", [section(title, trace) for title, trace in traces.items()])


def two_traces() -> str:
    """Return a page with a declined saga and a re-driven one."""
    traces = {"Payment declined": declined("saga-2"), "Re-driven": redriven("saga-4")}
    return page("Two order sagas", [section(title, trace) for title, trace in traces.items()])


def section(title: str, trace: TraceBuilder) -> TraceSection:
    """Return the section of a trace, with waits, a reason of the failure and a story."""
    spans = _with_waits(_named(trace.spans))
    ids = {"order": f"order-of-{trace.saga_id}", "saga": trace.saga_id, "trace": trace.trace_id}
    story = "declined by payment after 0.9 s; stock released; 0.4 s waiting in Kafka, 0.1 s in the outbox"
    return TraceSection(title, ids, tuple(spans), story, JAEGER + trace.trace_id)


def of(title: str, spans: Iterable[Span]) -> str:
    """Return a page with one trace."""
    return page(title, [TraceSection(title, {}, tuple(spans))])


def long_trace(size: int = 500) -> str:
    """Return a page with one trace of so many spans, or a few more."""
    trace = TraceBuilder()
    entry = trace.entry()
    while len(trace.spans) < size:
        reserve = trace.message(entry, INVENTORY_COMMANDS, "inventory.reserve")
        trace.message(reserve, SAGA_REPLIES, "inventory.reserved")
        trace.message(entry, ORDER_EVENTS, "order.created")
    return of("Long", _with_waits(trace.spans))


def deep_trace(size: int = 120) -> str:
    """Return a page with a trace in which every span is the child of the one before it."""
    trace = TraceBuilder()
    for _ in range(size):
        trace.span("handle", None, "oms")
    spans = [replace(after, parent_id=before.span_id) for before, after in pairwise(trace.spans)]
    return of("Deep", [trace.spans[0], *spans])


def hostile() -> str:
    """Return a page whose spans hold markup, long words, control characters and damaged messages, everywhere."""
    spans = [_poisoned(span, number) for number, span in enumerate(refunded("saga-1").spans)]
    facts = {MARKUP: MARKUP, "long": "x" * 3000}
    return page(MARKUP, [TraceSection(MARKUP, facts, tuple(spans), MARKUP, "http://jaeger/?" + MARKUP)])


def _named(spans: list[Span]) -> list[Span]:
    """Return spans of messages with the names that the services give them: the operation and the message's type."""
    about = [(span, span.attributes.get("messaging.operation.name")) for span in spans]
    return [
        replace(span, name=f"{operation} {span.attributes['sagatrace.message.type']}") if operation else span
        for span, operation in about
    ]


def _with_waits(spans: list[Span]) -> list[Span]:
    for span in list(spans):
        key = {"send": "sagatrace.outbox.wait_ms", "process": "messaging.kafka.queue.time_ms"}
        if wait := key.get(str(span.attributes.get("messaging.operation.name"))):
            spans = changed(spans, span, attributes={wait: _WAIT_MS})
    return spans


def _poisoned(span: Span, seed: int) -> Span:
    noise = (Strange(seed).body() or b"").decode("latin-1") + "\u202e\ud800\0"
    name = [MARKUP, "x" * 3000, noise][seed % 3]
    return replace(
        span,
        name=name,
        service=[MARKUP, noise, "s" * 300][seed % 3],
        status=noise + MARKUP,
        is_error=True,
        start_ns=span.start_ns + (seed % 5) * 100 * MS,
        attributes=dict(span.attributes) | {MARKUP: MARKUP, "noise": noise, "list": (MARKUP,), noise: float("nan")},
        events=(Event(name, span.start_ns - MS, {MARKUP: noise}),),
    )


def declined_trace() -> list[Span]:
    """Return the spans of a declined order, whose charge says who said no."""
    spans = declined().spans
    charge = doing(spans, "process", "payment.charge")
    return changed(spans, charge, is_error=True, status="payment.declined", attributes={"error.type": "declined"})
