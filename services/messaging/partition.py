"""One assigned partition: its records in order, a bounded number at a time, and what of them may be committed.

A partition has as many lanes as records of it may be handled at the same time. A record's lane follows from its key, so
the records of one key are handled one after the other, in order. The object lives as long as the assignment: work that
outlives it ends in a tracker that nobody commits any more.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context

from aiokafka import ConsumerRecord, TopicPartition

from services.messaging.offsets import OffsetTracker

Deliver = Callable[[ConsumerRecord[bytes, bytes]], Awaitable[None]]

# What a handler that was cancelled may take to end; longer, and it is left behind.
_CANCEL_S = 1.0


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
        self._closing = False
        self._lanes: list[asyncio.Queue[ConsumerRecord[bytes, bytes]]] = [asyncio.Queue() for _ in range(lanes)]
        # In a context of their own: what was current or bound where the consumer was started is no record's business.
        self._workers = [asyncio.create_task(self._work(lane), context=Context()) for lane in self._lanes]

    @property
    def in_flight(self) -> int:
        """How many records were taken and are not done."""
        return self._tracker.in_flight

    @property
    def watermark(self) -> int | None:
        """The offset below which everything that was taken is done; None before the first record."""
        return self._tracker.watermark

    def take(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Queue records for handling, in the order of the partition.

        Raises:
            OffsetsWentBack: the partition is not the one that it was.
        """
        for record in records:
            self._tracker.receive(record.offset)
            if self._committed is None:
                self._committed = record.offset
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
            if worker.done() and not self._closing:
                if worker.cancelled():
                    raise RuntimeError(f"a worker of {self.topic_partition} was cancelled by what it called")
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
        self._closing = True
        for worker in self._workers:
            worker.cancel()
        await asyncio.wait(self._workers, timeout=_CANCEL_S)

    async def _work(self, lane: asyncio.Queue[ConsumerRecord[bytes, bytes]]) -> None:
        # A handler may swallow its cancellation; then its record is done, and the worker ends here.
        while not self._closing:
            record = await lane.get()
            try:
                await self._deliver(record)
                self._tracker.done(record.offset)
            finally:
                lane.task_done()

    def _lane_of(self, record: ConsumerRecord[bytes, bytes]) -> asyncio.Queue[ConsumerRecord[bytes, bytes]]:
        spread = zlib.crc32(record.key) if record.key is not None else record.offset
        return self._lanes[spread % len(self._lanes)]
