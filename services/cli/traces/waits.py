"""Where a message waited before a span: in an outbox, or in Kafka."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from services.cli.traces.model import Kind, Span
from services.messaging.semconv import SAGATRACE_OUTBOX_WAIT_MS
from tracing.semconv import MESSAGING_OPERATION_NAME, PROCESS, QUEUE_TIME_MS

_NS_PER_MS = 1_000_000
# A hundred years: what is longer, or not a number, is no time.
_LONGEST_MS = 36_525 * 86_400_000


class Place(StrEnum):
    """Where a message waits."""

    OUTBOX = "the outbox"
    KAFKA = "Kafka"


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait that a span ended; it is over when the span starts."""

    place: Place
    length_ns: int


def waited_ns(waits: Iterable[tuple[int, int]]) -> int:
    """Return the wall-clock time of waits, each a begin and an end; a time in which several waited counts once."""
    total = reached = 0
    for begin, end in sorted(waits):
        total += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def wait(span: Span, parent: Span | None) -> Wait | None:
    """Return how long the message of a span waited before it; None if it did not, or if nothing says so.

    A process span without its time in the queue is taken to have waited since the end of its send.
    """
    place = Place.KAFKA if span.kind is Kind.CONSUMER else Place.OUTBOX
    length_ns = _recorded_ns(span, QUEUE_TIME_MS if place is Place.KAFKA else SAGATRACE_OUTBOX_WAIT_MS)
    if length_ns is None and span.text(MESSAGING_OPERATION_NAME) == PROCESS and parent is not None:
        length_ns = span.start_ns - parent.end_ns
    return Wait(place, length_ns) if length_ns is not None and length_ns > 0 else None


def _recorded_ns(span: Span, key: str) -> int | None:
    value = span.attributes.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LONGEST_MS:
        return None
    return round(value * _NS_PER_MS)
