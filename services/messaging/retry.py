"""The retry policy, a pure value: a delay for each failed attempt, or None.

Exponential backoff with jitter on the upper half: the n-th delay lies between half of `first * 2 ** (n - 1)` and the
whole of it, and never above `longest`. The source of randomness is an argument, so that a test can repeat it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

# Beyond this power every delay is at its limit; the bound keeps endless attempts from overflowing a float.
_MOST_DOUBLINGS = 32


@dataclass(frozen=True)
class Backoff:
    """How long to wait between attempts, in seconds; `retries` None means without limit."""

    first_s: float
    longest_s: float
    retries: int | None = None
    source: random.Random = field(default_factory=random.Random)

    def delay_s(self, failed_attempts: int) -> float | None:
        """Return how long to wait after this many failed attempts (from 1), in seconds; None if that was the last."""
        if self.retries is not None and failed_attempts > self.retries:
            return None
        whole = min(self.first_s * 2.0 ** min(failed_attempts - 1, _MOST_DOUBLINGS), self.longest_s)
        return whole * self.source.uniform(0.5, 1.0)
