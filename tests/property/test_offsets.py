"""The offset tracker under any gaps, any order of completion and any interleaving."""

from hypothesis import given
from hypothesis import strategies as st

from services.messaging.offsets import OffsetTracker


@given(gaps=st.lists(st.integers(1, 5), min_size=1, max_size=40), data=st.data())
def test_a_commit_never_passes_what_is_not_done_and_reaches_the_end(gaps: list[int], data: st.DataObject) -> None:
    """At every step the watermark is at most the lowest open offset, never falls, and in the end is past the last."""
    tracker = OffsetTracker()
    waiting = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    last = waiting[-1]
    open_: set[int] = set()
    before = 0
    while waiting or open_:
        if waiting and (not open_ or data.draw(st.booleans())):
            offset = waiting.pop(0)
            tracker.receive(offset)
            open_.add(offset)
        else:
            offset = data.draw(st.sampled_from(sorted(open_)))
            tracker.done(offset)
            open_.remove(offset)
        watermark = tracker.watermark
        assert watermark is not None
        assert watermark <= min(open_, default=last + 1)
        assert watermark >= before
        assert tracker.in_flight == len(open_)
        before = watermark
    assert tracker.watermark == last + 1
