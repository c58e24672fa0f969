"""What may be committed while records are in flight."""

import pytest

from services.messaging.consuming.offsets import OffsetTracker


def test_nothing_is_committed_before_the_first_record() -> None:
    """A partition without a record has no watermark."""
    assert OffsetTracker().watermark is None


def test_the_watermark_waits_for_the_lowest_record_in_flight() -> None:
    """Records done out of order move the watermark only up to the lowest that is not."""
    tracker = OffsetTracker()
    for offset in (5, 6, 7):
        tracker.receive(offset)
    tracker.done(6)
    tracker.done(7)
    assert (tracker.watermark, tracker.in_flight) == (5, 1)
    tracker.done(5)
    assert (tracker.watermark, tracker.in_flight) == (8, 0)


def test_gaps_are_passed() -> None:
    """Offsets that never come, as compaction and transaction markers leave them, hold nothing up."""
    tracker = OffsetTracker()
    tracker.receive(3)
    tracker.receive(40)
    tracker.done(3)
    assert tracker.watermark == 40
    tracker.done(40)
    assert tracker.watermark == 41


def test_a_gap_at_the_end_is_passed_with_the_position() -> None:
    """A position past the last record moves the watermark, but never past a record that is not done, nor back."""
    tracker = OffsetTracker()
    tracker.reach(3)
    assert tracker.watermark == 3
    tracker.receive(3)
    tracker.reach(10)
    assert tracker.watermark == 3
    tracker.done(3)
    assert (tracker.watermark, tracker.in_flight) == (10, 0)
    tracker.reach(7)
    assert tracker.watermark == 10
    with pytest.raises(ValueError, match="offset 9 comes after 9"):
        tracker.receive(9)


def test_an_offset_that_goes_back_is_refused() -> None:
    """A record at or below the last one means that the partition is not the one that it was."""
    tracker = OffsetTracker()
    tracker.receive(5)
    with pytest.raises(ValueError, match="offset 5 comes after 5"):
        tracker.receive(5)


def test_only_what_is_in_flight_can_be_done() -> None:
    """A record that was not received, or is done already, is an error and changes nothing."""
    tracker = OffsetTracker()
    tracker.receive(1)
    tracker.done(1)
    with pytest.raises(KeyError):
        tracker.done(1)
    assert tracker.watermark == 2
