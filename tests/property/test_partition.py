"""The work on a partition under any keys, any number of workers and any order of completion."""

import asyncio
from collections import defaultdict
from typing import Any

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from services.messaging.consuming.partition import Partition
from tests.support.records import record


class Handler:
    """Ends each record after some turns of the event loop, and keeps the book."""

    def __init__(self, turns: list[int]) -> None:
        self._turns = turns
        self.order: dict[bytes | None, list[int]] = defaultdict(list)
        self.busy: set[bytes | int] = set()
        self.most_busy = 0

    async def __call__(self, delivered: Any) -> None:
        """Handle one record."""
        lane = delivered.offset if delivered.key is None else delivered.key
        assert lane not in self.busy
        self.busy.add(lane)
        self.most_busy = max(self.most_busy, len(self.busy))
        for _ in range(self._turns[delivered.offset]):
            await asyncio.sleep(0)
        self.busy.remove(lane)
        self.order[delivered.key].append(delivered.offset)


@given(
    keys=st.lists(st.sampled_from([b"a", b"b", b"c", b"d", None]), min_size=1, max_size=40),
    workers=st.integers(1, 5),
    data=st.data(),
)
def test_keys_keep_their_order_and_all_is_done(keys: list[bytes | None], workers: int, data: st.DataObject) -> None:
    """Records of a key end in order and never overlap, no more run than may, and in the end all can be committed."""
    handler = Handler(data.draw(st.lists(st.integers(0, 4), min_size=len(keys), max_size=len(keys))))
    first = data.draw(st.integers(0, len(keys)))

    async def work() -> int | None:
        partition = Partition(TopicPartition("t", 0), handler, workers)
        records = [record(offset=offset, key=key) for offset, key in enumerate(keys)]
        partition.take(records[:first])
        await asyncio.sleep(0)
        partition.take(records[first:])
        async with asyncio.timeout(50):
            while partition.in_flight:
                partition.raise_if_dead()
                await asyncio.sleep(0)
        await partition.close()
        return partition.to_commit()

    assert asyncio.run(work()) == len(keys)
    assert handler.most_busy <= workers
    for key in {key for key in keys if key is not None}:
        assert handler.order[key] == [offset for offset, each in enumerate(keys) if each == key]
