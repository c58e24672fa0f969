"""When a group has failed too often, as a pure value: so many records in a row, or so many of the last ones.

Either limit also bounds the harm: when it is reached, `in_a_row` records in a row, or `ratio * window` of some `window`
records, have become dead letters, and no more.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How many failures are too many."""

    in_a_row: int
    window: int
    ratio: float


@dataclass(frozen=True)
class Cooldown:
    """How long nothing is handled after too many failures, in seconds; doubled each time a probe fails.

    `probes` is how many records have to work after that, one after the other.
    """

    first_s: float
    longest_s: float
    probes: int

    def after(self, trips: int) -> float:
        """Return how long the cool-down is after this many trips, from 1, in seconds."""
        return min(self.longest_s, self.first_s * 2.0 ** min(trips - 1, 32))


class Tally:
    """The outcomes of the last records of one group in one process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._in_a_row = 0
        self._last: deque[bool] = deque(maxlen=limits.window)
        #: How many of the last ones failed; to sum them up at each failure would cost as much as the window is long.
        self._failed = 0

    def worked(self) -> None:
        """Count a record that was processed."""
        self._in_a_row = 0
        self._count(failed=False)

    def failed(self) -> str | None:
        """Count a record that could not be processed; return why that was one too many, or None."""
        self._in_a_row += 1
        self._count(failed=True)
        limits, failed = self._limits, self._failed
        if self._in_a_row >= limits.in_a_row:
            return f"{self._in_a_row} dead letters in a row"
        if failed >= limits.ratio * limits.window:
            return f"{failed} dead letters among the last {len(self._last)} records"
        return None

    def clear(self) -> None:
        """Start over."""
        self._in_a_row = self._failed = 0
        self._last.clear()

    def _count(self, *, failed: bool) -> None:
        if len(self._last) == self._last.maxlen:
            self._failed -= self._last[0]
        self._last.append(failed)
        self._failed += failed
