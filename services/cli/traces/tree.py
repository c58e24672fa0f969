"""A trace as the rows of a waterfall: parents above children, earlier above later. Used by terminal and page alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf

from services.cli.traces.marks import is_compensation, marks, reason
from services.cli.traces.model import Span
from services.cli.traces.saga_trace import message_type
from services.cli.traces.waits import Wait, wait

_UNITS = (
    ("us", 1e3, 0, 1e6),
    ("ms", 1e6, 1, 1e9),
    ("s", 1e9, 2, 120e9),
    ("min", 60e9, 1, 7_200e9),
    ("h", 3_600e9, 1, 172_800e9),
    ("days", 86_400e9, 1, inf),
)
"""The units of a duration, in nanoseconds, with their digits after the point, each up to a length in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Row:
    """One span in a waterfall.

    Args:
        span: The span.
        depth: How many spans are above it.
        begin: When it starts; like all times of a row a fraction of the trace's duration, from 0 to 1.
        width: How long it takes.
        wait: Where its message waited before it.
        wait_begin: When that wait begins; it ends at `begin`.
    """

    span: Span
    depth: int
    begin: float
    width: float
    wait: Wait | None = None
    wait_begin: float = 0

    @property
    def is_compensation(self) -> bool:
        """Whether the span undoes what another span did."""
        return is_compensation(self.span)

    @property
    def message(self) -> str:
        """The type of the message that is sent or processed; empty if there is none, or if the name says it."""
        kind = message_type(self.span) or ""
        return "" if kind in self.span.name else kind

    @property
    def reason(self) -> str:
        """Why the span failed; empty if it did not, or if its name says why."""
        why = reason(self.span)
        return "" if why in self.span.name else why

    @property
    def marks(self) -> tuple[str, ...]:
        """What is unusual about the span, in a few words each."""
        return marks(self.span)


def rows(spans: Iterable[Span]) -> list[Row]:
    """Return the rows for spans; a span whose parent is missing is drawn as a root."""
    ordered = sorted(spans, key=lambda span: (span.start_ns, -span.end_ns, span.span_id))
    if not ordered:
        return []
    start_ns = ordered[0].start_ns
    whole_ns = max(1, length_ns(ordered))
    by_id = {span.span_id: span for span in ordered}
    return [
        _row(span, depth, wait(span, by_id.get(span.parent_id or "")), start_ns, whole_ns)
        for span, depth in _walk(ordered)
    ]


def _row(span: Span, depth: int, before: Wait | None, start_ns: int, whole_ns: int) -> Row:
    begin = (span.start_ns - start_ns) / whole_ns
    wait_begin = max(0, begin - before.length_ns / whole_ns) if before else begin
    return Row(span, depth, begin, span.duration_ns / whole_ns, before, wait_begin)


def length_ns(spans: Iterable[Span]) -> int:
    """Return the time from the first start to the last end, in nanoseconds."""
    known = list(spans)
    ends_ns = [span.start_ns + span.duration_ns for span in known]
    return max(ends_ns) - min(span.start_ns for span in known) if known else 0


def duration(nanoseconds: int) -> str:
    """Return a duration as text: 350 us, 12.3 ms, 4.56 s, 2.5 min, 3.1 h, 2.0 days."""
    return next(
        f"{nanoseconds / unit_ns:.{digits}f} {unit}"
        for unit, unit_ns, digits, limit_ns in _UNITS
        if nanoseconds < limit_ns
    )


def _walk(ordered: list[Span]) -> Iterator[tuple[Span, int]]:
    """Yield spans depth first with their depth; spans in a cycle, which have no root, come last."""
    ids = {span.span_id for span in ordered}
    children: dict[str | None, list[Span]] = defaultdict(list)
    for span in ordered:
        children[span.parent_id if span.parent_id in ids else None].append(span)
    left = {span.span_id: span for span in ordered}
    stack = [(span, 0) for span in reversed(children[None])]
    while stack or left:
        span, depth = stack.pop() if stack else (next(iter(left.values())), 0)
        if left.pop(span.span_id, None) is None:
            continue
        yield span, depth
        stack.extend((child, depth + 1) for child in reversed(children[span.span_id]))
