"""The consumer: polls raw records, hands them to their partitions' workers, and commits what is done.

The client's traps that shape it (aiokafka 0.14):

- `getmany(timeout_ms=...)` is never cancelled: a cancelled fetch leaks a counter, and `max_poll_interval_ms` is then
  never enforced again. Decoding is ours: a raising deserializer would loop for ever.
- Commits name their offsets. A commit without arguments commits what was fetched.
- A rebalance takes everything and gives anew, forgets which partitions were paused, and does not call back on `stop()`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Self

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from services.contracts import parse_saga_event
from services.messaging.dead_letters import DeadLetters
from services.messaging.delivery import Decode, Delivery, Handler, Ladder, OnUnknown
from services.messaging.errors import Unavailable
from services.messaging.partition import Partition
from services.messaging.producer import Producer
from services.messaging.readiness import Readiness
from services.messaging.retry import Backoff
from services.messaging.settings import ConsumerSettings


class Consumer:
    """A member of a consumer group that hands each message to a handler, at least once, in the order of its key.

    Args:
        brokers: `host:port`, or several separated by commas.
        group: The consumer group.
        topics: What to read.
        handler: Called with each parsed message, inside its process span.
        settings: Times and sizes; from the environment if not given.
        producer: Sends the dead letters; one of its own if not given.
        readiness: Told while the consumer can't do its work.
        on_unknown: Called with a record of an event topic whose type is not known; by default it is only counted.
        decode: Reads a record; by default its value is a message of the contract.
    """

    def __init__(  # noqa: PLR0913  what a test or a service may want to replace, each by name
        self,
        brokers: str,
        group: str,
        topics: Iterable[str],
        handler: Handler,
        *,
        settings: ConsumerSettings | None = None,
        producer: Producer | None = None,
        readiness: Readiness | None = None,
        on_unknown: OnUnknown | None = None,
        decode: Decode = parse_saga_event,
    ) -> None:
        self._brokers = brokers
        self._group = group
        self._topics = tuple(topics)
        self._settings = settings or ConsumerSettings.read()
        self._producer = producer or Producer(brokers, client_id=group)
        self._owns_producer = producer is None
        self._readiness = readiness or Readiness()
        dead_letters = DeadLetters(group, self._producer)
        self._delivery = Delivery(
            group,
            handler,
            dead_letters,
            _ladder(self._settings),
            readiness=self._readiness,
            on_unknown=on_unknown,
            decode=decode,
        )
        self._client: AIOKafkaConsumer | None = None
        self._partitions: dict[TopicPartition, Partition] = {}
        self._caught_up: dict[tuple[str, int], datetime] = {}
        self._joined = asyncio.Event()
        self._stopping = False
        self._polling: asyncio.Task[None] | None = None
        self._committed_at = 0.0
        self._log = structlog.get_logger(__name__)

    async def start(self) -> None:
        """Join the group and begin to work; return once partitions are assigned.

        Raises:
            Unavailable: no broker answers, or the group can't be joined in time.
        """
        settings = self._settings
        self._client = _client(self._brokers, self._group, settings)
        self._client.subscribe(self._topics, listener=_Listener(self))
        try:
            async with asyncio.timeout(settings.join_timeout):
                await self._client.start()
                self._polling = asyncio.create_task(self._poll(self._client), name=f"poll {self._group}")
                await self._first_assignment(self._polling)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.stop()
            reason = f"group {self._group} can't be joined at KAFKA_BOOTSTRAP_SERVERS={self._brokers}"
            raise Unavailable(f"{reason}: {type(error).__name__}") from error

    async def run(self) -> None:
        """Work until `stop`, starting first if need be.

        Raises:
            Exception: the poll loop or a worker died.
        """
        if self._polling is None:
            await self.start()
        if self._polling is not None:
            await self._polling

    async def stop(self) -> None:
        """Take nothing more, drain within the budget, commit, and leave the group."""
        self._stopping = True
        if self._polling is not None:
            await asyncio.wait([self._polling])
        client = self._client
        if client is not None:
            await self._give_up(client, list(self._partitions))
            await self._leave(client)
        if self._owns_producer:
            await self._producer.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def caught_up(self) -> Mapping[tuple[str, int], datetime]:
        """Tell for each assigned (topic, partition) up to which moment everything in it has been processed here."""
        return dict(self._caught_up)

    async def _first_assignment(self, polling: asyncio.Task[None]) -> None:
        joined = asyncio.create_task(self._joined.wait())
        try:
            await asyncio.wait([joined, polling], return_when=asyncio.FIRST_COMPLETED)
            if polling.done():
                await polling
        finally:
            joined.cancel()

    async def _poll(self, client: AIOKafkaConsumer) -> None:
        timeout_ms = round(self._settings.poll_timeout * 1000)
        while not self._stopping:
            batches = await client.getmany(timeout_ms=timeout_ms, max_records=self._settings.max_poll_records)
            for topic_partition, records in batches.items():
                # During a rebalance records of a partition that was just given up may still arrive; they come again.
                if topic_partition in self._partitions:
                    self._partitions[topic_partition].take(records)
            self._bound_flight(client)
            for partition in self._partitions.values():
                partition.raise_if_dead()
            await self._note_progress(client)
            if time.monotonic() - self._committed_at >= self._settings.commit_interval:
                await self._commit(client, self._partitions.values())

    def _bound_flight(self, client: AIOKafkaConsumer) -> None:
        """Pause partitions with too much in flight, and resume those that have worked it off."""
        paused = client.paused()
        for topic_partition, partition in self._partitions.items():
            if partition.in_flight >= self._settings.max_in_flight:
                client.pause(topic_partition)
            elif topic_partition in paused and partition.in_flight <= self._settings.max_in_flight // 2:
                client.resume(topic_partition)

    async def _note_progress(self, client: AIOKafkaConsumer) -> None:
        """Note which partitions had been read to their end, and processed, when the broker last answered."""
        for topic_partition, partition in list(self._partitions.items()):
            end, polled = client.highwater(topic_partition), client.last_poll_timestamp(topic_partition)
            if end is None or polled is None or await client.position(topic_partition) < end or partition.in_flight:
                continue
            moment = datetime.fromtimestamp(polled / 1000, UTC)
            self._caught_up[topic_partition.topic, topic_partition.partition] = moment

    async def _commit(self, client: AIOKafkaConsumer, partitions: Iterable[Partition]) -> None:
        """Commit what is done; what can't be committed now is committed with the next, or delivered again."""
        self._committed_at = time.monotonic()
        due = {partition: offset for partition in partitions if (offset := partition.to_commit()) is not None}
        if not due:
            return
        try:
            async with asyncio.timeout(self._settings.commit_timeout):
                await client.commit({partition.topic_partition: offset for partition, offset in due.items()})
        except (CommitFailedError, IllegalStateError, KafkaError, TimeoutError) as error:
            self._log.warning("consumer.commit_failed", group=self._group, reason=type(error).__name__)
            return
        for partition, offset in due.items():
            partition.committed(offset)

    def assign(self, assigned: Sequence[TopicPartition]) -> None:
        """Begin to work on partitions: the group's decision."""
        lanes = self._settings.max_concurrency
        for topic_partition in assigned:
            self._partitions[topic_partition] = Partition(topic_partition, self._delivery.deliver, lanes)
        self._joined.set()
        self._readiness.ready(f"consumer {self._group}")
        self._log.info("consumer.assigned", group=self._group, partitions=len(assigned))

    async def _give_up(self, client: AIOKafkaConsumer, revoked: Iterable[TopicPartition]) -> None:
        """Finish what has begun, within the budget, commit it, and forget the partitions."""
        gone = [partition for tp in revoked if (partition := self._partitions.pop(tp, None)) is not None]
        try:
            async with asyncio.timeout(self._settings.drain):
                await asyncio.gather(*(partition.drain() for partition in gone))
        except TimeoutError:
            self._log.warning("consumer.drain_timeout", group=self._group)
        await asyncio.gather(*(partition.close() for partition in gone))
        await self._commit(client, gone)
        for partition in gone:
            self._caught_up.pop((partition.topic_partition.topic, partition.topic_partition.partition), None)

    async def _leave(self, client: AIOKafkaConsumer) -> None:
        try:
            async with asyncio.timeout(self._settings.commit_timeout):
                await client.stop()
        except (KafkaError, TimeoutError) as error:
            self._log.warning("consumer.leave_failed", group=self._group, reason=type(error).__name__)

    async def revoke(self, revoked: Iterable[TopicPartition]) -> None:
        """Drain, commit and forget partitions: the group's decision."""
        if self._client is not None:
            await self._give_up(self._client, revoked)


class _Listener(ConsumerRebalanceListener):
    """Passes the group's decisions on; what it raised would only be logged by the client."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._consumer.revoke(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._consumer.assign(list(assigned))


def _client(brokers: str, group: str, settings: ConsumerSettings) -> AIOKafkaConsumer:
    session_ms = round(settings.session_timeout * 1000)
    return AIOKafkaConsumer(
        bootstrap_servers=brokers,
        group_id=group,
        client_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        partition_assignment_strategy=[RoundRobinPartitionAssignor],
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=max(session_ms // 4, 1),
        fetch_max_wait_ms=round(settings.fetch_max_wait * 1000),
    )


def _ladder(settings: ConsumerSettings) -> Ladder:
    return Ladder(
        handler_timeout_s=settings.handler_timeout,
        retries=Backoff(settings.first_backoff, settings.longest_backoff, settings.retries),
        waits=Backoff(settings.first_backoff, settings.longest_backoff),
    )
