"""The rules about the shape of a saga's trace: one line a step, right below the entry.

What the orchestrator sends is a child of the entry, or of the request or the timeout that made it send, and what a
participant does about it hangs below: the send, its process span, the reply's send, and the reply's process span. So
the steps stand below each other in their order, and what caused a step is a link.
"""

from __future__ import annotations

from collections.abc import Iterator

from services.cli.traces.findings import Finding, Rule
from services.cli.traces.model import Span
from services.cli.traces.saga_trace import SagaTrace, group, message_type, operation
from services.contracts.topics import COMMAND_TOPICS, ORCHESTRATOR_GROUP, READERS, SAGA_REPLIES
from tracing.semconv import MESSAGING_DESTINATION_NAME, PROCESS, SEND

BEGINNING = frozenset({"order.created", "saga.started", "inventory.reserve"})
"""The messages of a saga's start, which the entry itself sends."""

DEEPEST = 6
"""The entry, a request or a timeout, and a step: two sends, each with its process span."""


def are_below_the_entry(saga: SagaTrace) -> Iterator[Finding]:
    """Find what the orchestrator sent elsewhere than below the entry, or without a link to the reply that caused it."""
    entries = {span.span_id for span in saga.entries}
    parents = entries.union(span.span_id for span in saga.turns)
    #: By request or timeout: the one command that it sends itself, for which no reply is the cause.
    begun: dict[str, str] = {}
    for send, message_id in _sent_by_the_orchestrator(saga) if entries else ():
        if send.parent_id is None or send.parent_id not in saga.by_id:
            continue  # another rule finds it
        if send.parent_id not in parents:
            yield Finding(Rule.STEP, "is not a child of the entry, nor of a request or a timeout", send)
        elif send.links:
            yield from _wrong_causes(saga, send)
        elif send.parent_id in entries:
            if message_type(send) not in BEGINNING:
                yield Finding(Rule.STEP, _NO_CAUSE, send)
        elif send.text(MESSAGING_DESTINATION_NAME) not in COMMAND_TOPICS or message_id != begun.setdefault(
            send.parent_id, message_id
        ):
            yield Finding(Rule.STEP, _NO_CAUSE, send)


_NO_CAUSE = "is not linked to the reply that caused it"


def _sent_by_the_orchestrator(saga: SagaTrace) -> Iterator[tuple[Span, str]]:
    for (topic, message_id), spans in saga.sends.items():
        if topic in READERS and topic != SAGA_REPLIES:
            yield from ((span, message_id) for span in spans)


def _wrong_causes(saga: SagaTrace, send: Span) -> Iterator[Finding]:
    """Find links to what is no reply, or was not recorded: without the cause, a whole step may be missing.

    The entry is the cause of a command that an operator without telemetry asked for.
    """
    for link in send.links:
        cause = saga.by_id.get(link.span_id)
        if cause is None:
            yield Finding(Rule.STEP, f"is linked to a cause that was not recorded ({link.span_id})", send)
        is_asked = cause in saga.entries and send.text(MESSAGING_DESTINATION_NAME) in COMMAND_TOPICS
        if cause is not None and not is_asked and (operation(cause), group(cause)) != (PROCESS, ORCHESTRATOR_GROUP):
            yield Finding(Rule.STEP, "is linked to a cause that is no reply", send)


def are_lines(saga: SagaTrace) -> Iterator[Finding]:
    """Find messages that are deeper than a step can be."""
    levels = {span.span_id for span in (*saga.entries, *saga.turns)}
    levels.update(span.span_id for span in saga.spans if _is_level(span))
    for span in saga.spans:
        depth = len(levels.intersection(saga.path(span)))
        if span.span_id in levels and depth > DEEPEST:
            yield Finding(Rule.DEPTH, f"is {depth} deep; a step takes {DEEPEST}", span)


def _is_level(span: Span) -> bool:
    """Return whether a span is one of a step's two sends or process spans.

    What stands between a message's send and its process span is not: the send to a retry topic. Neither is a span that
    a participant writes inside a step, such as a decision that it makes later.
    """
    return operation(span) == PROCESS or (operation(span) == SEND and span.text(MESSAGING_DESTINATION_NAME) in READERS)
