"""Recorded spans as frozen values, independent of the format they were read from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from tracing.semconv import SAGATRACE_INTERRUPTED

AttributeValue = str | bool | int | float | tuple["AttributeValue", ...] | Mapping[str, "AttributeValue"] | None
"""A value of OTLP's `AnyValue`; bytes are kept in base64, as OTLP/JSON has them."""

Attributes = Mapping[str, AttributeValue]


class Kind(IntEnum):
    """The kind of a span, numbered as in OTLP's `SpanKind`."""

    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


@dataclass(frozen=True, slots=True)
class Link:
    """A link to another span, of this trace or another."""

    trace_id: str
    span_id: str
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """A span's event; its time is in nanoseconds since the epoch."""

    name: str
    time_ns: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """One span. Ids are lower-case hex, times are nanoseconds since the epoch; a root has no parent id."""

    trace_id: str
    span_id: str
    parent_id: str | None
    service: str
    name: str
    kind: Kind
    start_ns: int
    end_ns: int
    attributes: Attributes = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    events: tuple[Event, ...] = ()
    is_error: bool = False
    status: str = ""

    @property
    def duration_ns(self) -> int:
        """How long it took; never negative, whatever a clock did."""
        return max(0, self.end_ns - self.start_ns)

    def text(self, key: str) -> str | None:
        """Return an attribute if it is text, else None."""
        value = self.attributes.get(key)
        return value if isinstance(value, str) else None

    @property
    def is_interrupted(self) -> bool:
        """Whether its process died before it ended."""
        return bool(self.attributes.get(SAGATRACE_INTERRUPTED))


def once(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return one span for each id, in the order of first appearance.

    A retried export delivers a span twice, and so does a process that ships what its dead predecessor may already have
    exported. Of several copies the last finished one is kept: an interrupted one is incomplete.
    """
    found: dict[tuple[str, str], Span] = {}
    for span in spans:
        key = span.trace_id, span.span_id
        if key not in found or found[key].is_interrupted or not span.is_interrupted:
            found[key] = span
    return tuple(found.values())
