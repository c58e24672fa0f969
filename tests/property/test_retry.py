"""The retry policy over any settings."""

import random

from hypothesis import given
from hypothesis import strategies as st

from services.messaging.retry import Backoff

SECONDS = st.floats(0.001, 3600, allow_nan=False)


@given(first=SECONDS, longest=SECONDS, retries=st.integers(0, 100), seed=st.integers(), failed=st.integers(1, 200))
def test_a_delay_is_bounded_and_attempts_end(
    first: float, longest: float, retries: int, seed: int, failed: int
) -> None:
    """There are exactly `retries` delays, each between half and all of the doubled first one, below the cap."""
    delay = Backoff(first, longest, retries, random.Random(seed)).delay_s(failed)
    if failed > retries:
        assert delay is None
    else:
        assert delay is not None
        whole = min(first * 2.0 ** min(failed - 1, 32), longest)
        assert whole / 2 <= delay <= whole


@given(first=SECONDS, longest=SECONDS, failed=st.integers(1, 10**9))
def test_endless_attempts_always_have_a_delay(first: float, longest: float, failed: int) -> None:
    """Without a limit there is a delay after any number of failures, and never one above the longest."""
    delay = Backoff(first, longest).delay_s(failed)
    assert delay is not None
    assert 0 < delay <= longest


@given(seed=st.integers())
def test_the_same_seed_gives_the_same_delays(seed: int) -> None:
    """Chance comes from the given source alone."""
    first, second = (Backoff(0.1, 5, 5, random.Random(seed)) for _ in range(2))
    assert [first.delay_s(n) for n in range(1, 7)] == [second.delay_s(n) for n in range(1, 7)]
