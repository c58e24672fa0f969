"""Hand-made traces of sagas with the times that a test gives, in seconds: for what is told and measured about them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from services.cli.traces.model import Event, Kind, Link, Span
from services.cli.traces.saga_trace import SagaTrace
from services.contracts.topics import (
    INVENTORY_COMMANDS,
    INVENTORY_GROUP,
    ORCHESTRATOR_GROUP,
    PAYMENT_COMMANDS,
    PAYMENT_GROUP,
    SAGA_REPLIES,
    dead_letter_topic,
    retry_topic,
)

START_NS = 1_800_000_000_000_000_000
SECOND = 1_000_000_000
SAGA_ID = "saga-1"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"

_READER = {INVENTORY_COMMANDS: INVENTORY_GROUP, PAYMENT_COMMANDS: PAYMENT_GROUP, SAGA_REPLIES: ORCHESTRATOR_GROUP}
_SERVICE = {INVENTORY_GROUP: "inventory", PAYMENT_GROUP: "payment", ORCHESTRATOR_GROUP: "oms"}
_REPLIES = {"reserved", "rejected", "released", "charged", "declined", "refunded", "dead_lettered"}


def ns(second: float) -> int:
    """Return a moment of a trace, in nanoseconds since the epoch."""
    return START_NS + round(second * SECOND)


@dataclass
class TimedTrace:
    """A saga's trace that begins at second 0; `spans` is what was recorded."""

    spans: list[Span] = field(default_factory=list)

    @property
    def saga(self) -> SagaTrace:
        """The trace as it is read."""
        return SagaTrace(SAGA_ID, tuple(self.spans))

    def span(  # noqa: PLR0913  what a span consists of
        self,
        name: str,
        begin: float,
        end: float,
        parent: Span | None = None,
        *,
        service: str = "oms",
        kind: Kind = Kind.INTERNAL,
        **more: Any,
    ) -> Span:
        """Record a span that carries the saga's ids."""
        attributes = {"saga.id": SAGA_ID, "order.id": "order-1"} | more.pop("attributes", {})
        span = Span(
            trace_id=TRACE_ID,
            span_id=f"{len(self.spans) + 1:016x}",
            parent_id=parent.span_id if parent else None,
            service=service,
            name=name,
            kind=kind,
            start_ns=ns(begin),
            end_ns=ns(end),
            attributes=attributes,
            **more,
        )
        self.spans.append(span)
        return span

    def entry(self) -> Span:
        """Record the request that starts the saga."""
        return self.span("POST /orders", 0, 0.01, kind=Kind.SERVER)

    def asked(self, name: str, at: float, **attributes: Any) -> Span:
        """Record a request to the running saga, or a timeout."""
        return self.span(name, at, at + 0.01, self.spans[0], attributes=attributes)

    def message(
        self,
        kind: str,
        times: tuple[float, float, float],
        cause: Span,
        *,
        topic: str | None = None,
        reader: str | None = None,
        **more: Any,
    ) -> Span:
        """Record a message's send, which takes no time, and its process span, which is returned.

        The times are those of the send, and of the begin and the end of the processing.
        """
        sent, begin, end = times
        topic = topic or _topic(kind)
        reader = reader or _READER[topic]
        about = {
            "messaging.destination.name": topic,
            "messaging.message.id": more.pop("message_id", f"message-{len(self.spans)}"),
            "sagatrace.message.type": kind,
        }
        sending = about | {"messaging.operation.name": "send"}
        if (outbox_ms := more.pop("outbox_ms", None)) is not None:
            sending["sagatrace.outbox.wait_ms"] = outbox_ms
        sender = more.pop("sender", None) or cause.service
        send = self.span(f"send {kind}", sent, sent, cause, service=sender, kind=Kind.PRODUCER, attributes=sending)
        processing = about | {"messaging.operation.name": "process", "messaging.consumer.group.name": reader}
        processing |= more.pop("attributes", {})
        links = (Link(TRACE_ID, send.span_id), *more.pop("links", ()))
        service = _SERVICE.get(reader, reader)
        name = f"process {kind}"
        return self.span(
            name, begin, end, send, service=service, kind=Kind.CONSUMER, attributes=processing, links=links, **more
        )

    def dead_letter(self, failed: Span, why: str, error_type: str = "Invalid") -> Span:
        """Make a process span a failure whose record went to the dead letters; return it."""
        attributes = {**failed.attributes, "error.type": error_type}
        after = replace(failed, is_error=True, status=why, attributes=attributes)
        self.spans[self.spans.index(failed)] = after
        topic = dead_letter_topic(str(failed.attributes["messaging.consumer.group.name"]))
        about = {"messaging.destination.name": topic, "messaging.operation.name": "send"}
        at = (failed.end_ns - START_NS) / SECOND
        self.span(f"send {topic}", at, at, after, service=failed.service, kind=Kind.PRODUCER, attributes=about)
        return after

    def redrive(self, failed: Span, at: float, **more: Any) -> Span:
        """Record that an operator sent a dead letter again; return its new process span."""
        reader = str(failed.attributes["messaging.consumer.group.name"])
        return self.message(
            str(failed.attributes["sagatrace.message.type"]),
            (at, at, at + 0.1),
            failed,
            topic=retry_topic(reader),
            reader=reader,
            message_id=failed.attributes["messaging.message.id"],
            sender="sagatrace-cli",
            links=(Link(TRACE_ID, failed.span_id, {"link.type": "retry_of"}),),
            **more,
        )

    def ended(self, outcome: str, end: float, why: str = "", begin: float = 0) -> Span:
        """Record the span of the saga's life, or of its refund."""
        name = "refund order completed" if outcome == "refunded" else f"saga order {outcome}" + (why and f": {why}")
        of = {"saga.outcome": outcome}
        return self.span(name, begin, end, self.spans[0], attributes=of, is_error=bool(why), status=why)

    def change(self, span: Span, **changes: Any) -> Span:
        """Change a recorded span; attributes are added."""
        if "attributes" in changes:
            changes["attributes"] = {**span.attributes, **changes["attributes"]}
        changed = replace(span, **changes)
        self.spans[self.spans.index(span)] = changed
        return changed


def retried(times: int) -> tuple[Event, ...]:
    """Return the events of attempts that failed."""
    return tuple(Event("retry", START_NS) for _ in range(times))


def reserved() -> TimedTrace:
    """Build the beginning of a saga: the stock is reserved at 0.5 s."""
    trace = TimedTrace()
    entry = trace.entry()
    reserve = trace.message("inventory.reserve", (0.1, 0.1, 0.4), entry)
    trace.message("inventory.reserved", (0.4, 0.4, 0.5), reserve)
    return trace


def charged(reply: str = "payment.charged") -> TimedTrace:
    """Build a saga up to the reply to the charge, which is applied at 0.9 s."""
    trace = reserved()
    charge = trace.message("payment.charge", (0.5, 0.5, 0.8), trace.spans[0])
    trace.message(reply, (0.8, 0.8, 0.9), charge)
    return trace


def completed() -> TimedTrace:
    """Build a saga that completes within 0.9 s."""
    trace = charged()
    trace.ended("completed", 0.9)
    return trace


def undo(trace: TimedTrace, kind: str, at: float, cause: Span | None = None) -> Span:
    """Record a command that undoes a step, and its reply, which is applied 0.2 s later; return the process span."""
    done = trace.message(kind, (at, at, at + 0.1), cause or trace.spans[0])
    reply = {"inventory.release": "inventory.released", "payment.refund": "payment.refunded"}[kind]
    trace.message(reply, (at + 0.1, at + 0.1, at + 0.2), done)
    return done


def declined() -> TimedTrace:
    """Build a saga whose charge is declined at 0.9 s, and whose stock is released at 1.3 s."""
    trace = charged("payment.declined")
    undo(trace, "inventory.release", 1.1)
    trace.ended("failed", 1.3, "declined")
    return trace


def _topic(kind: str) -> str:
    family, _, what = kind.partition(".")
    if what in _REPLIES:
        return SAGA_REPLIES
    return {"inventory": INVENTORY_COMMANDS, "payment": PAYMENT_COMMANDS}[family]
