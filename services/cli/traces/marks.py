"""What is unusual about a span, in the words that a reader of a waterfall needs."""

from __future__ import annotations

from collections.abc import Iterator

from services.cli.traces.model import Kind, Span
from services.cli.traces.saga_trace import is_duplicate, message_type
from services.contracts.commands import UNDOES
from services.messaging import semconv
from tracing.semconv import ERROR_TYPE

_APPLIED = "applied"


def is_compensation(span: Span) -> bool:
    """Return whether a span undoes what another span did; a command that only asks for it does not."""
    return span.kind is Kind.CONSUMER and message_type(span) in UNDOES


def reason(span: Span) -> str:
    """Return why a span failed; empty if it did not."""
    return (span.status or span.text(ERROR_TYPE) or "failed") if span.is_error else ""


def retries(span: Span) -> int:
    """Return how many attempts failed inside a span before the last one."""
    return sum(event.name == semconv.EVENT_RETRY for event in span.events)


def was_away(span: Span) -> bool:
    """Return whether a database or a broker was away while the span waited for it."""
    return any(event.name == semconv.EVENT_UNAVAILABLE for event in span.events)


def marks(span: Span) -> tuple[str, ...]:
    """Return what is unusual about a span, in a few words each; nothing about its failure, which `reason` has."""
    return tuple(_marks(span))


def _marks(span: Span) -> Iterator[str]:
    if is_compensation(span):
        yield f"undoes {span.text(semconv.SAGA_COMPENSATES) or UNDOES[message_type(span) or '']}"
    if failed := retries(span):
        yield "1 retry" if failed == 1 else f"{failed} retries"
    if was_away(span):
        yield "database or broker away"
    if span.text(semconv.SAGATRACE_ORIGINAL_TOPIC):
        yield "re-driven"
    if is_duplicate(span):
        yield "duplicate"
    if (verdict := span.text(semconv.SAGA_VERDICT)) not in {None, _APPLIED, "duplicate"}:
        yield f"{verdict} reply"
    if span.is_interrupted:
        yield "interrupted"
