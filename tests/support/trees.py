"""Traces as text: a line for each span, indented below its parent, with all that a test asserts about it.

    oms: POST /orders
      oms: send payment.charge
        payment: process payment.charge, retry 2

A line names the service and the span, and the type of the message if its name does not. What is unusual follows behind
commas: the dead-letter or retry topic that the message is on, that it failed, that it was cut off or a duplicate, the
verdict on a reply that moved nothing, the number of retries, and its links. The link of a process span to its parent
send is usual and left out; its absence is mentioned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from services.cli.traces.model import Kind, Span, once
from services.cli.traces.saga_trace import is_duplicate, message_type
from services.cli.traces.tree import rows
from services.contracts.topics import READERS
from services.messaging import semconv
from tracing.semconv import ERROR_TYPE, LINK_TYPE, MESSAGING_DESTINATION_NAME

_INDENT = "  "


def drawn(spans: Iterable[Span], trace_id: str) -> str:
    """Return a trace as text, siblings in the order of their start; a span that was recorded twice is there once."""
    known = {span.span_id: span for span in once(spans)}
    own = [span for span in known.values() if span.trace_id == trace_id]
    return "\n".join(f"{_INDENT * row.depth}{_line(row.span, known)}" for row in rows(own))


def in_any_order(tree: str) -> str:
    """Sort the siblings of a tree, so that trees are equal whatever the order of siblings."""
    return "\n".join(_sorted(tree.strip().splitlines()))


def _sorted(lines: Sequence[str]) -> list[str]:
    """Sort blocks of lines; a block is a line and what is deeper below it."""
    blocks: list[list[str]] = []
    for line in lines:
        if not blocks or _depth(line) <= _depth(blocks[-1][0]):
            blocks.append([])
        blocks[-1].append(line)
    return [line for block in sorted([first, *_sorted(below)] for first, *below in blocks) for line in block]


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _line(span: Span, known: dict[str, Span]) -> str:
    return ", ".join([_name(span), *_marks(span), *_links(span, known)])


def _name(span: Span) -> str:
    kind = message_type(span) or ""
    return f"{span.service}: {span.name}" if span.name.endswith(kind) else f"{span.service}: {span.name} {kind}"


def _marks(span: Span) -> Iterator[str]:
    topic = span.text(MESSAGING_DESTINATION_NAME)
    if topic is not None and topic not in READERS:
        yield f"on {topic}"
    if span.is_error:
        yield f"ERROR {span.status or span.text(ERROR_TYPE) or ''}".rstrip()
    if span.is_interrupted:
        yield "interrupted"
    if is_duplicate(span):
        yield "duplicate"
    if (verdict := span.text(semconv.SAGA_VERDICT)) not in {None, "applied"}:
        yield f"verdict {verdict}"
    if retries := [event for event in span.events if event.name == semconv.EVENT_RETRY]:
        yield f"retry {len(retries)}"


def _links(span: Span, known: dict[str, Span]) -> Iterator[str]:
    others = [link for link in span.links if link.span_id != span.parent_id]
    if span.kind is Kind.CONSUMER and len(others) == len(span.links):
        yield "not linked to its send"
    for link in others:
        to = known.get(link.span_id)
        kind = link.attributes.get(LINK_TYPE, "linked")
        yield f"{kind} ({_name(to) if to else 'of another trace'})"
