"""Traces of sagas made by hand: each the whole of what a good one records, for tests to read and to break."""

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
class Telling:
    """Writes a saga's trace, a millisecond a span."""

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

    def message(self, cause: Span, topic: str, kind: str) -> Span:
        """Add a message's send span and the process spans of all groups; give that of the first group."""
        about = {
            "messaging.destination.name": topic,
            "messaging.message.id": f"{self.saga_id}-{len(self.spans)}",
            "sagatrace.message.type": kind,
        }
        send = self.span(
            f"send {topic}",
            cause,
            cause.service,
            Kind.PRODUCER,
            attributes=about | {"messaging.operation.name": "send"},
        )
        processed = [self._process(send, topic, group, about) for group in READERS[topic]]
        return processed[0]

    def send_aside(self, topic: str, cause: Span, failed: Span) -> Span:
        """Add the send of a message that failed to a dead-letter or a retry topic."""
        about = {
            "messaging.operation.name": "send",
            "messaging.destination.name": topic,
            "messaging.message.id": failed.attributes["messaging.message.id"],
            "sagatrace.message.type": failed.attributes["sagatrace.message.type"],
        }
        return self.span(f"send {topic}", cause, cause.service, Kind.PRODUCER, attributes=about)

    def _process(self, send: Span, topic: str, group: str, about: dict[str, str]) -> Span:
        does = {"messaging.operation.name": "process", "messaging.consumer.group.name": group}
        links = [Link(send.trace_id, send.span_id)]
        undone = UNDOES.get(about["sagatrace.message.type"])
        step = [span for span in self.spans if span.attributes.get("sagatrace.message.type") == undone]
        if undone and step:
            links.append(Link(send.trace_id, step[-1].span_id, {"link.type": "compensates"}))
        return self.span(
            f"process {topic}",
            send,
            _SERVICES[group],
            Kind.CONSUMER,
            attributes=about | does,
            links=tuple(links),
        )

    def summary(self, name: str, outcome: str, begin: Span, **more: Any) -> Span:
        """Add the span of a life, from another span's start until now."""
        span = self.span(name, self.spans[0], "oms", attributes={"saga.outcome": outcome}, **more)
        self.spans[-1] = span = replace(span, start_ns=begin.start_ns)
        return span


def completed(saga_id: str = "saga-1", **more: Any) -> Telling:
    """Tell of a saga that goes all the way forward."""
    telling = Telling(saga_id, **more)
    entry = telling.entry()
    telling.message(entry, ORDER_EVENTS, "order.created")
    telling.message(entry, SAGA_EVENTS, "saga.started")
    reserve = telling.message(entry, INVENTORY_COMMANDS, "inventory.reserve")
    reserved = telling.message(reserve, SAGA_REPLIES, "inventory.reserved")
    charge = telling.message(reserved, PAYMENT_COMMANDS, "payment.charge")
    charged = telling.message(charge, SAGA_REPLIES, "payment.charged")
    telling.message(charged, ORDER_EVENTS, "order.confirmed")
    telling.message(charged, SAGA_EVENTS, "saga.completed")
    telling.summary("saga order", "completed", entry)
    return telling


def refunded(saga_id: str = "saga-1") -> Telling:
    """Tell of a saga that was completed and then taken back."""
    telling = completed(saga_id)
    request = telling.span("request refund", telling.spans[0], "oms")
    refund = telling.message(request, PAYMENT_COMMANDS, "payment.refund")
    paid_back = telling.message(refund, SAGA_REPLIES, "payment.refunded")
    release = telling.message(paid_back, INVENTORY_COMMANDS, "inventory.release")
    released = telling.message(release, SAGA_REPLIES, "inventory.released")
    telling.message(released, ORDER_EVENTS, "order.refunded")
    telling.message(released, SAGA_EVENTS, "saga.refunded")
    telling.summary("refund order", "refunded", request)
    return telling


def buried(saga_id: str = "saga-1") -> Telling:
    """Tell of a saga of which one group could not process a message: it is among the group's dead letters."""
    telling = completed(saga_id)
    failed = which(telling.spans, _of_notification)
    telling.spans[telling.spans.index(failed)] = failed = replace(failed, is_error=True)
    telling.send_aside(dead_letter_topic(NOTIFICATION_GROUP), failed, failed)
    return telling


def redriven(saga_id: str = "saga-1") -> Telling:
    """Tell of such a saga after a re-drive: the message was processed after all."""
    telling = buried(saga_id)
    failed = which(telling.spans, _of_notification)
    send = telling.send_aside(retry_topic(NOTIFICATION_GROUP), telling.spans[-1], failed)
    links = (Link(send.trace_id, send.span_id), Link(failed.trace_id, failed.span_id, {"link.type": "retry_of"}))
    topic = {"messaging.destination.name": retry_topic(NOTIFICATION_GROUP)}
    telling.span(
        f"process {retry_topic(NOTIFICATION_GROUP)}",
        send,
        failed.service,
        Kind.CONSUMER,
        attributes={**failed.attributes, **topic},
        links=links,
    )
    return telling


def _of_notification(span: Span) -> bool:
    return span.attributes.get("messaging.consumer.group.name") == NOTIFICATION_GROUP


def declined(saga_id: str = "saga-1") -> Telling:
    """Tell of a saga whose charge was declined, and whose stock was released."""
    telling = Telling(saga_id)
    entry = telling.entry()
    telling.message(entry, ORDER_EVENTS, "order.created")
    telling.message(entry, SAGA_EVENTS, "saga.started")
    reserve = telling.message(entry, INVENTORY_COMMANDS, "inventory.reserve")
    reserved = telling.message(reserve, SAGA_REPLIES, "inventory.reserved")
    charge = telling.message(reserved, PAYMENT_COMMANDS, "payment.charge")
    refused = telling.message(charge, SAGA_REPLIES, "payment.declined")
    release = telling.message(refused, INVENTORY_COMMANDS, "inventory.release")
    released = telling.message(release, SAGA_REPLIES, "inventory.released")
    telling.message(released, ORDER_EVENTS, "order.canceled")
    telling.message(released, SAGA_EVENTS, "saga.failed")
    telling.summary("saga order", "failed", entry, is_error=True, status="card_declined")
    return telling


def which(spans: list[Span], matches: Callable[[Span], bool]) -> Span:
    """Find the first span that matches."""
    return next(span for span in spans if matches(span))


def doing(spans: list[Span], operation: str, kind: str) -> Span:
    """Find the first send or process span of a type of message."""
    wanted = {"messaging.operation.name": operation, "sagatrace.message.type": kind}
    return which(spans, lambda span: wanted.items() <= dict(span.attributes).items())


def changed(spans: list[Span], span: Span, **changes: Any) -> list[Span]:
    """Give the spans with one of them changed; attributes are added, and dropped where they are None."""
    if "attributes" in changes:
        both = dict(span.attributes) | changes["attributes"]
        changes["attributes"] = {key: value for key, value in both.items() if value is not None}
    return [replace(one, **changes) if one is span else one for one in spans]
