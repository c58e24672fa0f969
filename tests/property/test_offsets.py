"""The offset tracker under any gaps, any order of completion, any rebalances, and work that outlives its assignment."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.messaging.consuming.offsets import OffsetTracker
from tests.runs.sizes import size


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


class Epoch:
    """One assignment: its tracker, and what of it is not done."""

    def __init__(self) -> None:
        self.tracker = OffsetTracker()
        self.open: set[int] = set()


class Assignments(RuleBasedStateMachine):
    """A partition that is given to one member after the other, in any interleaving with the work on it."""

    @initialize(gaps=st.lists(st.integers(1, 4), min_size=1, max_size=30), tail=st.integers(0, 3))
    def begin(self, gaps: list[int], tail: int) -> None:
        """Write a log with gaps, also at its end, of which nothing is committed."""
        self.log = [sum(gaps[: index + 1]) for index in range(len(gaps))]
        self.end = self.log[-1] + 1 + tail
        self.committed = self.log[0]
        self.position = self.log[0]
        self.done: set[int] = set()
        self.now = Epoch()
        self.stale: list[Epoch] = []

    @property
    def unread(self) -> list[int]:
        """What of the log the current assignment has not received."""
        return [offset for offset in self.log if offset >= self.position]

    @precondition(lambda self: self.unread)
    @rule(count=st.integers(1, 5))
    def receive(self, count: int) -> None:
        """Take the next records."""
        for offset in self.unread[:count]:
            self.now.tracker.receive(offset)
            self.now.open.add(offset)
            self.position = offset + 1

    @rule(data=st.data())
    def skip(self, data: st.DataObject) -> None:
        """Pass a part of the gap before the next record, or at the end."""
        self.position = data.draw(st.integers(self.position, self.unread[0] if self.unread else self.end))
        self.now.tracker.reach(self.position)

    @precondition(lambda self: self.now.open)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """End any record of the current assignment."""
        self._finish(self.now, data)

    @precondition(lambda self: any(epoch.open for epoch in self.stale))
    @rule(data=st.data())
    def finish_late(self, data: st.DataObject) -> None:
        """End a record that outlived its assignment: nobody commits for it any more."""
        self._finish(data.draw(st.sampled_from([epoch for epoch in self.stale if epoch.open])), data)

    @rule()
    def commit(self) -> None:
        """Commit the current watermark."""
        if self.now.tracker.watermark is not None:
            assert self.now.tracker.watermark >= self.committed
            self.committed = self.now.tracker.watermark

    @rule(in_order=st.booleans())
    def reassign(self, in_order: bool) -> None:  # noqa: FBT001  hypothesis gives it
        """Give the partition to the next member, after a last commit if it goes in order."""
        if in_order:
            self.commit()
        self.stale.append(self.now)
        self.now = Epoch()
        self.position = self.committed

    @invariant()
    def nothing_is_skipped(self) -> None:
        """What is committed was done, by whoever."""
        assert {offset for offset in getattr(self, "log", []) if offset < self.committed} <= getattr(
            self, "done", set()
        )

    def teardown(self) -> None:
        """Without further trouble the end of the log is reached."""
        if not hasattr(self, "log"):
            return
        self.receive(len(self.log))
        self.now.tracker.reach(self.end)
        for offset in sorted(self.now.open, reverse=True):
            self.now.tracker.done(offset)
        self.now.open.clear()
        self.commit()
        assert self.committed == self.end

    def _finish(self, epoch: Epoch, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(epoch.open)))
        epoch.tracker.done(offset)
        epoch.open.remove(offset)
        # What a stale assignment has done is done, but only a current one may move the commit past it.
        self.done.add(offset)


TestAssignments = Assignments.TestCase
TestAssignments.settings = settings(max_examples=size(25, 60), stateful_step_count=30)
