"""One assigned partition: its records in the order of their keys, and how many of them may be committed.

Each key with records at hand has a lane. A lane is ready while nobody is at its first record; the workers, a bounded
number, take from the ready lanes the record with the lowest offset. Three things follow:

- the records of a key are handled one after the other, in order, and wait for no other key's;
- one worker alone keeps the order of the whole partition;
- the oldest record is never passed over, so the watermark moves and little is delivered again.

A worker lives while there is something ready. The object lives as long as the assignment: work that outlives it ends in
a tracker that nobody commits any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from heapq import heappop, heappush

from aiokafka import ConsumerRecord, TopicPartition

from services.messaging.consuming.offsets import OffsetTracker
from services.messaging.errors import Held

Deliver = Callable[[ConsumerRecord[bytes, bytes]], Awaitable[None]]

# How long a cancelled handler may take to end, in seconds; after that it is left behind.
_CANCEL_S = 1.0


class Partition:
    """The work on one partition during one assignment.

    Args:
        topic_partition: The partition.
        deliver: Handles one record; returns when it is done, and raises Held if it must not be handled now.
        concurrency: How many records may be handled at the same time.
    """

    def __init__(self, topic_partition: TopicPartition, deliver: Deliver, concurrency: int) -> None:
        self.topic_partition = topic_partition
        self._deliver = deliver
        self._concurrency = concurrency
        self._tracker = OffsetTracker()
        self._committed: int | None = None
        self._closing = False
        self._lanes: dict[bytes | int, deque[ConsumerRecord[bytes, bytes]]] = {}
        #: A heap: the offset of each ready lane's first record, and the lane's key.
        self._ready: list[tuple[int, bytes | int]] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._dead: asyncio.Task[None] | None = None

    @property
    def in_flight(self) -> int:
        """How many records were taken and are not done."""
        return self._tracker.in_flight

    @property
    def watermark(self) -> int | None:
        """The offset below which everything that was taken is done; None before the first record or position."""
        return self._tracker.watermark

    def take(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Queue records for handling, in the order of the partition.

        Raises:
            OffsetsWentBack: the partition was created again, or lost its end.
        """
        for record in records:
            self._tracker.receive(record.offset)
            if self._committed is None:
                self._committed = record.offset
            self._queue(record)
        self._start_workers()

    def reach(self, position: int) -> None:
        """Record that the client stands at a position: all records below it were taken."""
        self._tracker.reach(position)

    def to_commit(self) -> int | None:
        """Return the offset to commit, if there is one that was not committed yet; 0 is where a group begins anyway."""
        watermark = self._tracker.watermark
        return watermark if watermark and watermark != self._committed else None

    def committed(self, offset: int) -> None:
        """Record a commit."""
        self._committed = offset

    def raise_if_dead(self) -> None:
        """Raise the error that ended a worker.

        Raises:
            Exception: a worker died; that is a bug, and the process must not go on as if it worked.
        """
        if self._dead is None:
            return
        if self._dead.cancelled():
            raise RuntimeError(f"a worker of {self.topic_partition} was cancelled by what it called")
        self._dead.result()

    async def drain(self) -> None:
        """Begin nothing more, and wait for what has begun."""
        self._forget_queue()
        if self._workers:
            await asyncio.wait(self._workers)

    async def close(self) -> None:
        """Stop the workers; their records are left undone and will be delivered again."""
        self._closing = True
        for worker in self._workers:
            worker.cancel()
        if self._workers:
            await asyncio.wait(self._workers, timeout=_CANCEL_S)

    def _forget_queue(self) -> None:
        self._ready.clear()
        self._lanes.clear()

    def _queue(self, record: ConsumerRecord[bytes, bytes]) -> None:
        # A record without a key waits for no other: its offset is a lane of its own.
        key = record.offset if record.key is None else record.key
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = deque([record])
            heappush(self._ready, (record.offset, key))
        else:
            lane.append(record)

    def _start_workers(self) -> None:
        # Each takes its lane at once, so that the next one sees what is left. It has a context of its own: what was
        # current or bound where the consumer was started does not belong to any record.
        while self._ready and len(self._workers) < self._concurrency:
            worker = asyncio.create_task(self._work(self._next_lane()), context=Context())
            self._workers.add(worker)
            worker.add_done_callback(self._ended)

    def _next_lane(self) -> bytes | int:
        return heappop(self._ready)[1]

    async def _work(self, key: bytes | int) -> None:
        # A drain takes the lanes away, also from a worker that has not made its first step.
        while lane := self._lanes.get(key):
            record = lane.popleft()
            try:
                await self._deliver(record)
            except Held:
                # Nothing may be handled now; the membership seeks the partition back to its watermark.
                self._forget_queue()
                return
            self._tracker.done(record.offset)
            self._put_back(key)
            # A handler may have swallowed its cancellation; then its record is done, and the worker ends here.
            if self._closing or not self._ready:
                return
            key = self._next_lane()

    def _put_back(self, key: bytes | int) -> None:
        lane = self._lanes.get(key)
        if lane:
            heappush(self._ready, (lane[0].offset, key))
        elif lane is not None:
            del self._lanes[key]

    def _ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if self._closing:
            return
        if worker.cancelled() or worker.exception() is not None:
            self._dead = worker
        else:
            # A record that came between its last step and now found no free worker.
            self._start_workers()
