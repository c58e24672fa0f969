"""Hand-made traces of sagas: each has every span that a good one records, for tests to read and to break."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from services.cli.traces.model import Kind, Link, Span
from services.contracts.commands import UNDOES
from services.contracts.topics import (
    AUDIT_GROUP,
    INVENTORY_COMMANDS,
    INVENTORY_GROUP,
    NOTIFICATION_GROUP,
    ORCHESTRATOR_GROUP,
    ORDER_EVENTS,
    PAYMENT_COMMANDS,
    PAYMENT_GROUP,
    READERS,
    SAGA_EVENTS,
    SAGA_REPLIES,
    dead_letter_topic,
    retry_topic,
)

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
START_NS = 1_800_000_000_000_000_000
MS = 1_000_000

_SERVICES = {
    INVENTORY_GROUP: "inventory",
    PAYMENT_GROUP: "payment",
    ORCHESTRATOR_GROUP: "oms",
    AUDIT_GROUP: "audit",
    NOTIFICATION_GROUP: "notification",
}


@dataclass
class TraceBuilder:
    """Builds a saga's trace, one millisecond a span."""

    saga_id: str = "saga-1"
    trace_id: str = TRACE_ID
    caller: str | None = None
    spans: list[Span] = field(default_factory=list)

    def span(self, name: str, parent: Span | None, service: str, kind: Kind = Kind.INTERNAL, **more: Any) -> Span:
        """Add a span that carries the saga's ids."""
        start_ns = START_NS + len(self.spans) * MS
        ids = {"saga.id": self.saga_id, "order.id": f"order-of-{self.saga_id}"}
        span = Span(
            trace_id=self.trace_id,
            span_id=f"{abs(hash(self.saga_id)) % 0xFFFFFFFF:08x}{len(self.spans) + 1:08x}",
            parent_id=parent.span_id if parent else None,
            service=service,
            name=name,
            kind=kind,
            start_ns=start_ns,
            end_ns=start_ns + MS,
            attributes=ids | more.pop("attributes", {}),
            **more,
        )
        self.spans.append(span)
        return span

    def entry(self) -> Span:
        """Add the request that starts the saga."""
        entry = self.span("POST /orders", None, "oms", Kind.SERVER)
        self.spans[-1] = entry = replace(entry, parent_id=self.caller)
        return entry

    def message(self, parent: Span, topic: str, kind: str, cause: Span | None = None) -> Span:
        """Add a message's send span and the process spans of all groups; return that of the first group.

        The send links to its cause, if there is one beside its parent.
        """
        about = {
            "messaging.destination.name": topic,
            "messaging.message.id": f"{self.saga_id}-{len(self.spans)}",
            "sagatrace.message.type": kind,
        }
        send = self.span(
            f"send {kind}",
            parent,
            parent.service,
            Kind.PRODUCER,
            attributes=about | {"messaging.operation.name": "send"},
            links=(Link(cause.trace_id, cause.span_id, {"link.type": "caused_by"}),) if cause else (),
        )
        processed = [self._process(send, group, about) for group in READERS[topic]]
        return processed[0]

    def send_aside(self, topic: str, cause: Span, failed: Span) -> Span:
        """Add the send of a failed message to a dead-letter or a retry topic."""
        about = {
            "messaging.operation.name": "send",
            "messaging.destination.name": topic,
            "messaging.message.id": failed.attributes["messaging.message.id"],
            "sagatrace.message.type": failed.attributes["sagatrace.message.type"],
        }
        name = f"send {about['sagatrace.message.type']}"
        return self.span(name, cause, cause.service, Kind.PRODUCER, attributes=about)

    def _process(self, send: Span, group: str, about: dict[str, str]) -> Span:
        does = {"messaging.operation.name": "process", "messaging.consumer.group.name": group}
        links = [Link(send.trace_id, send.span_id)]
        undone = UNDOES.get(about["sagatrace.message.type"])
        step = [span for span in self.spans if span.attributes.get("sagatrace.message.type") == undone]
        if undone and step:
            links.append(Link(send.trace_id, step[-1].span_id, {"link.type": "compensates"}))
        return self.span(
            f"process {about['sagatrace.message.type']}",
            send,
            _SERVICES[group],
            Kind.CONSUMER,
            attributes=about | does,
            links=tuple(links),
        )

    def summary(self, name: str, outcome: str, begin: Span, **more: Any) -> Span:
        """Add a summary span, from another span's start until now."""
        span = self.span(name, self.spans[0], "oms", attributes={"saga.outcome": outcome}, **more)
        self.spans[-1] = span = replace(span, start_ns=begin.start_ns)
        return span


def completed(saga_id: str = "saga-1", **more: Any) -> TraceBuilder:
    """Build the trace of a saga that completes."""
    trace = TraceBuilder(saga_id, **more)
    entry = trace.entry()
    trace.message(entry, ORDER_EVENTS, "order.created")
    trace.message(entry, SAGA_EVENTS, "saga.started")
    reserve = trace.message(entry, INVENTORY_COMMANDS, "inventory.reserve")
    reserved = trace.message(reserve, SAGA_REPLIES, "inventory.reserved")
    charge = trace.message(entry, PAYMENT_COMMANDS, "payment.charge", reserved)
    charged = trace.message(charge, SAGA_REPLIES, "payment.charged")
    trace.message(entry, ORDER_EVENTS, "order.confirmed", charged)
    trace.message(entry, SAGA_EVENTS, "saga.completed", charged)
    trace.summary("saga order completed", "completed", entry)
    return trace


def refunded(saga_id: str = "saga-1") -> TraceBuilder:
    """Build the trace of a saga that was completed and then refunded."""
    trace = completed(saga_id)
    request = trace.span("request refund", trace.spans[0], "oms")
    refund = trace.message(request, PAYMENT_COMMANDS, "payment.refund")
    paid_back = trace.message(refund, SAGA_REPLIES, "payment.refunded")
    release = trace.message(request, INVENTORY_COMMANDS, "inventory.release", paid_back)
    released = trace.message(release, SAGA_REPLIES, "inventory.released")
    trace.message(request, ORDER_EVENTS, "order.refunded", released)
    trace.message(request, SAGA_EVENTS, "saga.refunded", released)
    trace.summary("refund order completed", "refunded", request)
    return trace


def dead_lettered(saga_id: str = "saga-1") -> TraceBuilder:
    """Build the trace of a saga with a message that one group sent to its dead letters."""
    trace = completed(saga_id)
    failed = which(trace.spans, _of_notification)
    trace.spans[trace.spans.index(failed)] = failed = replace(failed, is_error=True)
    trace.send_aside(dead_letter_topic(NOTIFICATION_GROUP), failed, failed)
    return trace


def redriven(saga_id: str = "saga-1") -> TraceBuilder:
    """Build the trace of such a saga after a re-drive, in which the message was processed."""
    trace = dead_lettered(saga_id)
    failed = which(trace.spans, _of_notification)
    first = which(trace.spans, lambda span: span.span_id == failed.parent_id)
    send = trace.send_aside(retry_topic(NOTIFICATION_GROUP), first, failed)
    links = (Link(send.trace_id, send.span_id), Link(failed.trace_id, failed.span_id, {"link.type": "retry_of"}))
    topic = {"messaging.destination.name": retry_topic(NOTIFICATION_GROUP)}
    trace.span(
        failed.name,
        send,
        failed.service,
        Kind.CONSUMER,
        attributes={**failed.attributes, **topic},
        links=links,
    )
    return trace


def _of_notification(span: Span) -> bool:
    return span.attributes.get("messaging.consumer.group.name") == NOTIFICATION_GROUP


def declined(saga_id: str = "saga-1") -> TraceBuilder:
    """Build the trace of a saga whose charge was declined, and whose stock was released."""
    trace = TraceBuilder(saga_id)
    entry = trace.entry()
    trace.message(entry, ORDER_EVENTS, "order.created")
    trace.message(entry, SAGA_EVENTS, "saga.started")
    reserve = trace.message(entry, INVENTORY_COMMANDS, "inventory.reserve")
    reserved = trace.message(reserve, SAGA_REPLIES, "inventory.reserved")
    charge = trace.message(entry, PAYMENT_COMMANDS, "payment.charge", reserved)
    no = {"error.type": "declined", "sagatrace.reply.type": "payment.declined"}
    trace.spans = changed(trace.spans, charge, is_error=True, status="payment.declined", attributes=no)
    refused = trace.message(charge, SAGA_REPLIES, "payment.declined")
    release = trace.message(entry, INVENTORY_COMMANDS, "inventory.release", refused)
    released = trace.message(release, SAGA_REPLIES, "inventory.released")
    trace.message(entry, ORDER_EVENTS, "order.canceled", released)
    trace.message(entry, SAGA_EVENTS, "saga.failed", released)
    trace.summary("saga order failed: declined", "failed", entry, is_error=True, status="declined")
    return trace


def which(spans: list[Span], matches: Callable[[Span], bool]) -> Span:
    """Return the first span that matches."""
    return next(span for span in spans if matches(span))


def doing(spans: list[Span], operation: str, kind: str) -> Span:
    """Return the first send or process span of a type of message."""
    wanted = {"messaging.operation.name": operation, "sagatrace.message.type": kind}
    return which(spans, lambda span: wanted.items() <= dict(span.attributes).items())


def changed(spans: list[Span], span: Span, **changes: Any) -> list[Span]:
    """Return the spans with one of them changed; attributes are added, and removed where they are None."""
    if "attributes" in changes:
        both = dict(span.attributes) | changes["attributes"]
        changes["attributes"] = {key: value for key, value in both.items() if value is not None}
    return [replace(one, **changes) if one is span else one for one in spans]
