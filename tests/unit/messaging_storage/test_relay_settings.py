"""The relay's times: a lease outlasts a send, and waits grow to a limit."""

import pytest

from services.messaging.relay import RelaySettings


def test_waits_double_up_to_a_limit() -> None:
    """Each failed attempt waits twice as long as the one before it, up to the longest, for ever."""
    settings = RelaySettings(first_backoff_s=0.5, longest_backoff_s=5.0)
    assert [settings.backoff_s(attempts) for attempts in (1, 2, 3, 4, 5, 6, 10_000)] == [0.5, 1, 2, 4, 5, 5, 5]


def test_a_lease_outlasts_a_send() -> None:
    """A lease that a send may outlive would let two relays send the same row, and is refused."""
    with pytest.raises(ValueError, match="does not outlast"):
        RelaySettings(send_timeout_s=30.0, lease_s=30.0)
