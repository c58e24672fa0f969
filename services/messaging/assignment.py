"""What a consumer group gave to one member: its partitions, what is in flight in them, and what may be committed.

- Commits name their offsets. A commit without arguments commits what was fetched, not what was processed.
- A rebalance takes everything and gives anew. Each assignment of a partition is a new `Partition`; the old one finishes
  what has begun, within the drain budget, and its watermark is committed before the partition moves.
- What the client forgets at a rebalance, its pauses, follows from what is in flight: a new partition has nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from services.messaging.partition import Deliver, Partition
from services.messaging.readiness import Readiness
from services.messaging.settings import ConsumerSettings

Batches = Mapping[TopicPartition, Sequence[ConsumerRecord[bytes, bytes]]]


class Assignment(ConsumerRebalanceListener):
    """The partitions that a client has at the moment.

    Args:
        group: The consumer group.
        client: The member.
        deliver: Handles one record; returns when it is done with.
        settings: Times and sizes.
        readiness: Told when the group is joined and when the broker is silent.
    """

    def __init__(
        self,
        group: str,
        client: AIOKafkaConsumer,
        deliver: Deliver,
        settings: ConsumerSettings,
        readiness: Readiness,
    ) -> None:
        self._group = group
        self._client = client
        self._deliver = deliver
        self._settings = settings
        self._readiness = readiness
        self._partitions: dict[TopicPartition, Partition] = {}
        self._committed_at = 0.0
        self._part = f"consumer {group}"
        self._log = structlog.get_logger(__name__)
        #: Set once the group has given something, be it nothing.
        self.joined = asyncio.Event()
        readiness.unready(self._part, "the group has not been joined yet")

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin to work on partitions: the group's decision."""
        for topic_partition in assigned:
            partition = Partition(topic_partition, self._deliver, self._settings.max_concurrency)
            self._partitions[topic_partition] = partition
        self.joined.set()
        self._readiness.ready(self._part)
        self._log.info("consumer.assigned", group=self._group, partitions=len(self._partitions))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Finish what has begun, within the budget, commit it, and forget the partitions."""
        gone = [partition for tp in revoked if (partition := self._partitions.pop(tp, None)) is not None]
        try:
            async with asyncio.timeout(self._settings.drain):
                await asyncio.gather(*(partition.drain() for partition in gone))
        except TimeoutError:
            self._log.warning("consumer.drain_timeout", group=self._group)
        await asyncio.gather(*(partition.close() for partition in gone))
        await self._commit(gone)

    async def give_up(self) -> None:
        """Do what a revocation does, for all partitions: the client does not call back when it stops."""
        await self.on_partitions_revoked(list(self._partitions))
        self._readiness.ready(self._part)

    def take(self, batches: Batches) -> None:
        """Hand records to their partitions, and pause what has too much in flight.

        Raises:
            Exception: a worker died.
        """
        for topic_partition, records in batches.items():
            # During a rebalance records of a partition that was just given up may still arrive; they come again.
            if topic_partition in self._partitions:
                self._partitions[topic_partition].take(records)
        paused = self._client.paused()
        for topic_partition, partition in self._partitions.items():
            partition.raise_if_dead()
            if partition.in_flight >= self._settings.max_in_flight:
                self._client.pause(topic_partition)
            elif topic_partition in paused and partition.in_flight <= self._settings.max_in_flight // 2:
                self._client.resume(topic_partition)

    async def commit_if_due(self) -> None:
        """Commit what is done, if the last commit is long enough ago."""
        if time.monotonic() - self._committed_at >= self._settings.commit_interval:
            await self._commit(self._partitions.values())

    async def listen(self) -> None:
        """Take note of what the broker's latest answers tell, and of its silence."""
        for topic_partition, partition in list(self._partitions.items()):
            # Each turn waits, and a rebalance may come in between.
            if self._partitions.get(topic_partition) is partition:
                await self._hear(partition)
        self._report_silence()

    def caught_up(self) -> dict[tuple[str, int], datetime]:
        """Tell for each (topic, partition) the moment before which everything written to it has been processed."""
        return {
            (topic_partition.topic, topic_partition.partition): datetime.fromtimestamp(moment_ms / 1000, UTC)
            for topic_partition, partition in self._partitions.items()
            if (moment_ms := partition.read_up_to_ms) is not None
        }

    async def _hear(self, partition: Partition) -> None:
        topic_partition = partition.topic_partition
        if topic_partition in self._client.paused():
            partition.rest()
            return
        end = self._client.highwater(topic_partition)
        moment_ms = self._client.last_poll_timestamp(topic_partition)
        if end is None or moment_ms is None:
            return
        # The position is known at once when a fetch has been answered, unless the offset was out of range.
        with contextlib.suppress(IllegalStateError, TimeoutError):
            async with asyncio.timeout(self._settings.poll_timeout):
                position = await self._client.position(topic_partition)
            partition.answered(end, moment_ms, position)

    def _report_silence(self) -> None:
        silent_s = min((partition.silent_s for partition in self._partitions.values()), default=0.0)
        if silent_s > self._settings.session_timeout:
            self._readiness.unready(self._part, f"the broker has not answered for {silent_s:.0f} s")
        elif self._partitions:
            self._readiness.ready(self._part)

    async def _commit(self, partitions: Iterable[Partition]) -> None:
        """Commit what is done; what can't be committed now is committed with the next, or delivered again."""
        self._committed_at = time.monotonic()
        due = {partition: offset for partition in partitions if (offset := partition.to_commit()) is not None}
        if not due:
            return
        try:
            async with asyncio.timeout(self._settings.commit_timeout):
                await self._client.commit({partition.topic_partition: offset for partition, offset in due.items()})
        except (KafkaError, TimeoutError) as error:
            self._log.warning("consumer.commit_failed", group=self._group, reason=type(error).__name__)
            return
        for partition, offset in due.items():
            partition.committed(offset)
