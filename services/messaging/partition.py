"""One assigned partition: its records in order, a bounded number at a time, and what of them may be committed.

A partition has as many lanes as records of it may be handled at the same time. A record's lane follows from its key, so
the records of one key are handled one after the other, in order. The object lives as long as the assignment: work that
outlives it ends in a tracker that nobody commits any more.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Sequence

from aiokafka import ConsumerRecord, TopicPartition

from services.messaging.offsets import OffsetTracker

Deliver = Callable[[ConsumerRecord[bytes, bytes]], Awaitable[None]]


class Partition:
    """The work on one partition during one assignment.

    Args:
        topic_partition: Which one.
        deliver: Handles one record; returns when it is done with.
        lanes: How many records may be handled at the same time.
    """

    def __init__(self, topic_partition: TopicPartition, deliver: Deliver, lanes: int) -> None:
        self.topic_partition = topic_partition
        self._deliver = deliver
        self._tracker = OffsetTracker()
        self._committed: int | None = None
        self._lanes: list[asyncio.Queue[ConsumerRecord[bytes, bytes]]] = [asyncio.Queue() for _ in range(lanes)]
        self._workers = [asyncio.create_task(self._work(lane)) for lane in self._lanes]

    @property
    def in_flight(self) -> int:
        """How many records were taken and are not done."""
        return self._tracker.in_flight

    def take(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Queue records for handling, in the order of the partition."""
        for record in records:
            self._tracker.receive(record.offset)
            self._lane_of(record).put_nowait(record)

    def to_commit(self) -> int | None:
        """Tell the offset to commit, if there is one that was not committed yet."""
        watermark = self._tracker.watermark
        return watermark if watermark != self._committed else None

    def committed(self, offset: int) -> None:
        """Take note of a commit."""
        self._committed = offset

    def raise_if_dead(self) -> None:
        """Raise what ended a worker.

        Raises:
            Exception: a worker died; that is a bug, and the process must not go on as if it worked.
        """
        for worker in self._workers:
            if worker.done() and not worker.cancelled():
                worker.result()

    async def drain(self) -> None:
        """Take up nothing more, and wait for what has begun."""
        for lane in self._lanes:
            while not lane.empty():
                lane.get_nowait()
                lane.task_done()
        for lane in self._lanes:
            await lane.join()

    async def close(self) -> None:
        """Stop the workers; what they were at is left undone and will be delivered again."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _work(self, lane: asyncio.Queue[ConsumerRecord[bytes, bytes]]) -> None:
        while True:
            record = await lane.get()
            try:
                await self._deliver(record)
                self._tracker.done(record.offset)
            finally:
                lane.task_done()

    def _lane_of(self, record: ConsumerRecord[bytes, bytes]) -> asyncio.Queue[ConsumerRecord[bytes, bytes]]:
        spread = zlib.crc32(record.key) if record.key is not None else record.offset
        return self._lanes[spread % len(self._lanes)]
