"""A partition's workers under any keys, any order of completion, and rebalances that cut work off."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from services.messaging.consuming.partition import Partition
from tests.runs.sizes import size
from tests.support.records import record

HERE = TopicPartition("orders", 0)


class Member:
    """One member after the other works on a log; handlers end when they are told to.

    Args:
        gaps: The distances between the offsets of the log.
        keys: The keys of the records, over and over.
        concurrency: How many records a member handles at once.
    """

    def __init__(self, gaps: list[int], keys: list[bytes], concurrency: int) -> None:
        offsets = [sum(gaps[: index + 1]) for index in range(len(gaps))]
        self.log = [record(offset=offset, key=keys[offset % len(keys)]) for offset in offsets]
        self.committed = offsets[0]
        self.done: set[int] = set()
        self.running: dict[int, asyncio.Future[None]] = {}
        self.stubborn = False
        self._concurrency = concurrency
        self.join()

    def join(self) -> None:
        """Begin an assignment at what is committed."""
        self.partition = Partition(HERE, self._deliver, self._concurrency)
        self.unread = deque(one for one in self.log if one.offset >= self.committed)

    async def leave(self) -> None:
        """End it as a membership does whose drain budget is over: close, then commit."""
        await self.partition.close()
        self.commit()

    @contextmanager
    def obedient_at_the_end(self) -> Iterator[None]:
        """End the handlers with the block: hypothesis may break off an example, and then nobody opens a gate again."""
        try:
            yield
        finally:
            self.stubborn = False

    def take(self, count: int) -> None:
        """Take the next records."""
        self.partition.take([self.unread.popleft() for _ in range(min(count, len(self.unread)))])

    def commit(self) -> None:
        """Commit what is to be committed."""
        offset = self.partition.to_commit()
        if offset is not None:
            self.committed = offset
            self.partition.committed(offset)

    async def _deliver(self, taken: ConsumerRecord[bytes, bytes]) -> None:
        key = taken.key
        assert not [one for one in self.log if one.offset in self.running and one.key == key], "a key overtook itself"
        gate = self.running[taken.offset] = asyncio.get_running_loop().create_future()
        try:
            await gate
        except asyncio.CancelledError:
            if not self.stubborn:
                raise
        finally:
            del self.running[taken.offset]
        self.done.add(taken.offset)


@settings(max_examples=size(25, 60))
@given(
    gaps=st.lists(st.integers(1, 4), min_size=1, max_size=25),
    keys=st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=6),
    concurrency=st.integers(1, 4),
    data=st.data(),
)
def test_what_is_committed_was_done_and_the_end_is_reached(
    gaps: list[int], keys: list[bytes], concurrency: int, data: st.DataObject
) -> None:
    """A commit never passes a record that is not done, a key never overtakes itself, and the end is reached."""

    async def scenario() -> None:
        member = Member(gaps, keys, concurrency)
        with member.obedient_at_the_end():
            await run(member)

    async def run(member: Member) -> None:
        for _ in range(data.draw(st.integers(0, 40))):
            step = data.draw(st.sampled_from(["take", "finish", "finish", "finish", "commit", "rebalance"]))
            if step == "take":
                member.take(data.draw(st.integers(1, 6)))
            elif step == "finish" and member.running:
                member.running[data.draw(st.sampled_from(sorted(member.running)))].set_result(None)
            elif step == "commit":
                member.commit()
            elif step == "rebalance":
                member.stubborn = data.draw(st.booleans())
                await member.leave()
                member.join()
            await _settle()
            assert {one.offset for one in member.log if one.offset < member.committed} <= member.done
        member.take(len(member.log))
        await _settle()
        while member.running:
            member.running[max(member.running)].set_result(None)
            await _settle()
        member.partition.raise_if_dead()
        await member.leave()
        assert member.committed == member.log[-1].offset + 1

    asyncio.run(scenario())


@pytest.mark.timeout(10)
def test_an_example_that_is_broken_off_ends_while_a_handler_ignores_its_cancellation() -> None:
    """A worker does not wait for a gate that nobody opens any more, whatever hypothesis raises into the scenario."""

    class BrokenOffError(BaseException):
        """As StopTest of hypothesis."""

    async def scenario() -> None:
        member = Member([1, 1], [b"a"], 1)
        with member.obedient_at_the_end():
            member.take(2)
            await _settle()
            member.stubborn = True
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        asyncio.run(scenario())


async def _settle() -> None:
    """Let everything that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)
