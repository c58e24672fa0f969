"""The spans that a span belongs with, each by its name and with the reason, in both directions of a link."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from services.cli.traces.model import Link, Span
from services.cli.traces.page.shown import shown
from services.messaging.semconv import COMPENSATES, LINK_RETRY_OF
from tracing.semconv import LINK_AMBIENT, LINK_TRANSACTION, LINK_TYPE

# `link.type` -> what the target is to the span, and what the span is to the target.
_REASONS = {
    "caused_by": ("Caused by", "Caused"),
    COMPENSATES: ("Undoes", "Undone by"),
    LINK_RETRY_OF: ("Second attempt at", "Tried again in"),
    LINK_AMBIENT: ("Sent during", "Sent meanwhile"),
    LINK_TRANSACTION: ("In transaction", "Sends"),
}
_MESSAGE = ("Sent by", "Processed by")


class References:
    """The spans of a page, and who links to each.

    Args:
        spans: All spans of the page.
    """

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = {span.span_id: span for span in spans}
        self._linking: dict[str, list[tuple[str, Span]]] = defaultdict(list)
        self._begins_ns: dict[str, int] = {}
        for span in self._spans.values():
            before = self._begins_ns.get(span.trace_id, span.start_ns)
            self._begins_ns[span.trace_id] = min(before, span.start_ns)
            for link in span.links:
                self._linking[link.span_id].append((_reasons(link)[1], span))

    def begin_ns(self, trace_id: str) -> int:
        """Return when a trace of the page begins, in nanoseconds since the epoch."""
        return self._begins_ns[trace_id]

    def of(self, span: Span) -> Iterator[tuple[str, str]]:
        """Yield the parent of a span, what it links to and what links to it: the reason, and the name as HTML."""
        if span.parent_id:
            yield self._parent(span), self._name(span.parent_id)
        for link in span.links:
            if not _is_to_parent(link, span):
                elsewhere = f" in trace {link.trace_id}" if link.trace_id != span.trace_id else ""
                yield _reasons(link)[0], self._name(link.span_id, elsewhere)
        for reason, other in self._linking[span.span_id]:
            yield reason, self._name(other.span_id)

    def _parent(self, span: Span) -> str:
        is_sender = any(_is_to_parent(link, span) for link in span.links)
        return "Parent, and sent by" if is_sender else "Parent"

    def _name(self, span_id: str, elsewhere: str = "") -> str:
        """Return the name and the service of a span, as a link; the id of one that is not on the page."""
        span = self._spans.get(span_id)
        if span is None:
            return f"span <code>{shown(span_id)}</code>{shown(elsewhere)}, not on this page"
        return f'<a href="#{shown(span_id)}">{shown(span.name)}</a>, {shown(span.service)}'


def _is_to_parent(link: Link, span: Span) -> bool:
    return link.span_id == span.parent_id and LINK_TYPE not in link.attributes


def _reasons(link: Link) -> tuple[str, str]:
    if LINK_TYPE not in link.attributes:
        return _MESSAGE
    reason = str(link.attributes[LINK_TYPE])
    return _REASONS.get(reason, (reason, f"{reason} of"))
