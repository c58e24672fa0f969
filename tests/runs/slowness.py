"""How slow the machine is, for what bounds a time: a bound is written for an idle machine, and holds on a slow one.

Two kinds of times are in tests. A wait for a condition has a bound only for the condition that never comes, so that is
ten times what it takes. An assertion that something ends in time is strict where the machine is fast; where it fails,
the machine is measured, and the bound is longer by as much as the machine is slower.
"""

from __future__ import annotations

import time

PATIENCE = 10
"""How much slower than an idle machine one may be, for timeouts that can't be extended once they run."""

_ROUNDS = 20
_WORK = 500_000
_REST_S = 0.005
# What the rounds take on an idle machine of 2024, in seconds.
_USUAL_S = 0.3


def slowness() -> float:
    """Return how many times longer than usual work and wake-ups take now; at least 1. It takes 0.3 s, times that."""
    began = time.monotonic()
    for _ in range(_ROUNDS):
        sum(range(_WORK))
        time.sleep(_REST_S)
    return max(1.0, (time.monotonic() - began) / _USUAL_S)


def is_within(seconds: float, bound_s: float) -> bool:
    """Return whether something took no longer than its bound, for the machine as it is."""
    return seconds < bound_s or seconds < bound_s * slowness()
