"""A client's membership in a consumer group: it polls raw records, hands them to their partitions, and commits.

The client's traps that shape it (aiokafka 0.14):

- `getmany(timeout_ms=...)` is not cancelled while the client lives on: a cancelled fetch leaks a counter, and
  `max_poll_interval_ms` is then never enforced again.
- A fetch that raises has dropped what it had already taken from other partitions, past which a commit would go; and
  what went wrong in the background may never heal. So after any error the membership ends; a new one begins at what
  was committed.
- Commits name their offsets. A commit without arguments commits what was fetched.
- What is no record for the reader (a transaction marker, an aborted or compacted record) is passed in silence: only the
  position tells.
- A rebalance takes everything and gives anew, forgets which partitions were paused, and does not call back on `stop()`.
  While it lasts, however long, `getmany` waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError
from opentelemetry import metrics

from services.messaging import crash_points, listener, semconv
from services.messaging.breaker import Breaker, BreakerState
from services.messaging.closing import close_consumer
from services.messaging.consuming.intake import Intake
from services.messaging.consuming.partition import Deliver, Partition
from services.messaging.consuming.progress import PartitionProgress
from services.messaging.crash_points import Write
from services.messaging.dead_letters import Place
from services.messaging.errors import Unavailable
from services.messaging.security import KafkaSecurity
from services.messaging.settings import ConsumerSettings
from tracing.semconv import MESSAGING_CONSUMER_GROUP_NAME

# How soon a topic is found that was created after its consumer; the client's default of 5 minutes is too long.
_METADATA_AGE_MS = 30_000

# How often a partition that is held asks whether the record is to be passed by.
_SKIPS_S = 1.0

IsSkipped = Callable[[Place], Awaitable[bool]]


async def _never(_: Place) -> bool:
    return False


class Membership:
    """One client in a consumer group, from join to leave.

    Args:
        brokers: `host:port`, or several separated by commas.
        group: The consumer group.
        topics: The topics to read.
        deliver: Handles one record; returns when it is done.
        settings: Times and sizes.
        security: TLS and SASL.
        breaker: Says when nothing may be handled.
        careful: Whether to expect a record that can't be read.
        on_assigned: Called at each assignment, before any of its records is handled.
        is_skipped: Returns whether a record that can't be read is to be passed by.
    """

    def __init__(  # noqa: PLR0913  what a membership consists of
        self,
        brokers: str,
        group: str,
        topics: Sequence[str],
        deliver: Deliver,
        settings: ConsumerSettings,
        *,
        security: KafkaSecurity,
        breaker: Breaker,
        careful: bool = False,
        on_assigned: Callable[[], None] = lambda: None,
        is_skipped: IsSkipped = _never,
    ) -> None:
        self._brokers = brokers
        self._group = group
        self._topics = topics
        self._deliver = deliver
        self._settings = settings
        self._on_assigned = on_assigned
        self._is_skipped = is_skipped
        self._asked_at = 0.0
        self._breaker = breaker
        self._protocol = security.security_protocol
        self._client = _client(brokers, group, settings, security)
        self._intake = Intake(self._client, settings, careful=careful)
        self._partitions: dict[TopicPartition, Partition] = {}
        self._progress: dict[TopicPartition, PartitionProgress] = {}
        #: Set while partitions are assigned, be they none; cleared by a rebalance.
        self._assigned = asyncio.Event()
        self._giving_up = asyncio.Lock()
        self._left = False
        self._committed_at = time.monotonic()
        self._answered_at = time.time()
        self._log = structlog.get_logger(__name__)
        self._assignments = metrics.get_meter(semconv.SCOPE_MESSAGING).create_counter(
            semconv.ASSIGNMENTS,
            unit=semconv.ASSIGNED,
            description="Assignments of partitions to this member; each rebalance is one",
        )

    async def join(self) -> None:
        """Join the group, and return once partitions are assigned.

        Raises:
            Unavailable: no broker answers, or the group can't be joined in time.
        """
        self._client.subscribe(self._topics, listener=_Listener(self))
        try:
            async with asyncio.timeout(self._settings.join_timeout):
                await self._client.start()
                await self._assigned.wait()
        except (KafkaError, OSError, TimeoutError) as error:
            what = f"group {self._group} can't be joined for {', '.join(self._topics)}"
            where = f"KAFKA_BOOTSTRAP_SERVERS={self._brokers}"
            wrong = await listener.hint(self._brokers, self._protocol)
            raise Unavailable(f"{what} at {where}: {type(error).__name__}{wrong}") from error

    async def work(self, stopping: asyncio.Event) -> None:
        """Poll and commit until asked to stop.

        Raises:
            KafkaError: the client can't be used any more.
            OffsetsWentBack: as before: a partition is not the one that it was.
            Unreadable: as before, and the next membership has to be careful.
            Exception: a worker died.
        """
        while not stopping.is_set():
            await self._obey()
            one = 1 if self._breaker.state is BreakerState.PROBING else None
            batches = await self._intake.take(self._partitions, most=one)
            for topic_partition, records in batches.items():
                # A rebalance may have begun since; what it takes away is delivered again, to its new owner.
                if topic_partition in self._partitions:
                    self._partitions[topic_partition].take(records)
            await self._pass_by()
            self._bound_flight()
            for partition in self._partitions.values():
                partition.raise_if_dead()
            await self._note_progress()
            if time.monotonic() - self._committed_at >= self._settings.commit_interval:
                await self._commit(list(self._partitions.values()))

    async def leave(self) -> None:
        """Drain within the budget, commit, and leave the group, all in bounded time and only once."""
        self._left = True
        try:
            await self._give_up(list(self._partitions))
        finally:
            if not await close_consumer(self._client, self._settings.commit_timeout):
                self._log.warning("consumer.leave_failed", group=self._group)

    def caught_up(self) -> Mapping[tuple[str, int], datetime]:
        """Return, for each assigned (topic, partition), the moment before which all that was written is processed."""
        return {
            (tp.topic, tp.partition): datetime.fromtimestamp(moment_ms / 1000, UTC)
            for tp in self._partitions
            if (moment_ms := self._progress[tp].moment_ms) is not None
        }

    def partitions_of(self, topic: str) -> Collection[int]:
        """Return the partitions that a topic has, as the broker last said; none if the broker doesn't know it."""
        return self._client.partitions_for_topic(topic) or ()

    def held(self) -> Mapping[TopicPartition, int]:
        """Return the partitions that are held before a record that can't be read, with its offset."""
        return dict(self._intake.held)

    def silence_s(self) -> float:
        """Return for how many seconds a broker that should have answered has not."""
        if self._assigned.is_set() and self._client.paused() >= self._partitions.keys():
            return 0.0
        heard = [ms / 1000 for progress in self._progress.values() if (ms := progress.answered_ms) is not None]
        self._answered_at = max(self._answered_at, *heard, 0.0)
        return max(0.0, time.time() - self._answered_at)

    def assign(self, assigned: Sequence[TopicPartition]) -> None:
        """Begin to work on the partitions that the group has assigned."""
        if self._left:
            return
        self._on_assigned()
        for topic_partition in assigned:
            self._partitions[topic_partition] = self._new_partition(topic_partition)
            self._progress[topic_partition] = PartitionProgress()
        self._answered_at = time.time()
        self._assigned.set()
        self._assignments.add(1, {MESSAGING_CONSUMER_GROUP_NAME: self._group})
        self._log.info("consumer.assigned", group=self._group, partitions=len(assigned))

    async def revoke(self, revoked: Iterable[TopicPartition]) -> None:
        """Give up the partitions that the group takes away, and wait for others."""
        self._assigned.clear()
        await self._give_up(revoked)
        self._intake.forget()

    async def _give_up(self, revoked: Iterable[TopicPartition]) -> None:
        """Forget the partitions: finish what has begun, within the budget, and commit it."""
        async with self._giving_up:
            gone = [partition for tp in revoked if (partition := self._partitions.pop(tp, None)) is not None]
            await self._finish(gone)

    async def _obey(self) -> None:
        """Do what the breaker says: pause all partitions while it is open, and let one record through while it probes.

        This happens in every turn, because a rebalance forgets what was paused.
        """
        await self._breaker.sync()
        if self._breaker.state is BreakerState.CLOSED:
            return
        if self._breaker.state is BreakerState.OPEN:
            await self._put_back()
        busy = self._breaker.state is BreakerState.OPEN or any(each.in_flight for each in self._partitions.values())
        if busy:
            self._client.pause(*self._partitions)
        else:
            self._client.resume(*(self._client.paused() - self._intake.held.keys()))

    async def _pass_by(self) -> None:
        """Pass the records by that can't be read, where an operator has said so; ask once a second."""
        if not self._intake.held or time.monotonic() - self._asked_at < _SKIPS_S:
            return
        self._asked_at = time.monotonic()
        for topic_partition, offset in list(self._intake.held.items()):
            place = Place(topic_partition.topic, topic_partition.partition, offset)
            # While the database is away, the partition stays held; a rebalance may have come in between.
            with suppress(Unavailable):
                if await self._is_skipped(place) and self._intake.held.get(topic_partition) == offset:
                    self._intake.pass_by(topic_partition)

    async def _put_back(self) -> None:
        """Finish what has begun, and take partitions back to what of them is done."""
        async with self._giving_up:
            busy = {tp: partition for tp, partition in self._partitions.items() if partition.in_flight}
            await self._finish(list(busy.values()))
            for topic_partition, partition in busy.items():
                self._partitions[topic_partition] = self._new_partition(topic_partition)
                # What it was held before is met again on the way.
                self._intake.held.pop(topic_partition, None)
                if partition.watermark is not None:
                    self._client.seek(topic_partition, partition.watermark)

    async def _finish(self, partitions: Sequence[Partition]) -> None:
        """Begin nothing more in these partitions, finish what has begun within the budget, and commit it."""
        try:
            async with asyncio.timeout(self._settings.drain):
                await asyncio.gather(*(partition.drain() for partition in partitions))
        except TimeoutError:
            self._log.warning("consumer.drain_timeout", group=self._group)
        finally:
            await asyncio.gather(*(partition.close() for partition in partitions))
        await self._commit(partitions)

    def _new_partition(self, topic_partition: TopicPartition) -> Partition:
        return Partition(topic_partition, self._deliver, self._settings.max_concurrency)

    def _bound_flight(self) -> None:
        """Pause partitions with too much in flight, and resume those that have caught up."""
        if self._breaker.state is not BreakerState.CLOSED:
            return
        most = self._settings.max_in_flight
        resumable = self._client.paused() - self._intake.held.keys()
        for topic_partition, partition in self._partitions.items():
            if partition.in_flight >= most:
                self._client.pause(topic_partition)
            elif topic_partition in resumable and partition.in_flight <= most // 2:
                self._client.resume(topic_partition)

    async def _note_progress(self) -> None:
        """Record what the broker last said about each partition, and how far each is processed."""
        for topic_partition, partition in list(self._partitions.items()):
            # Each step may wait, and a rebalance may happen meanwhile.
            if self._partitions.get(topic_partition) is partition:
                await self._note(topic_partition, partition)

    async def _note(self, topic_partition: TopicPartition, partition: Partition) -> None:
        progress = self._progress[topic_partition]
        end = self._client.highwater(topic_partition)
        answered_ms = self._client.last_poll_timestamp(topic_partition)
        if end is None or answered_ms is None:
            return
        progress.answer(end, answered_ms)
        if partition.in_flight:
            progress.process(partition.watermark or 0)
            return
        # The position is known at once when a fetch has been answered, unless the offset was out of range.
        with suppress(IllegalStateError, TimeoutError):
            async with asyncio.timeout(self._settings.poll_timeout):
                position = await self._client.position(topic_partition)
            if self._partitions.get(topic_partition) is partition:
                partition.reach(position)
                progress.process(position)

    async def _commit(self, partitions: Sequence[Partition]) -> None:
        """Commit what is done; what can't be committed now is committed next time, or delivered again."""
        self._committed_at = time.monotonic()
        due = {partition: offset for partition in partitions if (offset := partition.to_commit()) is not None}
        if not due:
            return
        try:
            async with asyncio.timeout(self._settings.commit_timeout):
                crash_points.before(Write.OFFSETS)
                await self._client.commit({partition.topic_partition: offset for partition, offset in due.items()})
                crash_points.after(Write.OFFSETS)
        except (KafkaError, TimeoutError) as error:
            self._log.warning("consumer.commit_failed", group=self._group, reason=type(error).__name__)
            return
        for partition, offset in due.items():
            partition.committed(offset)


class _Listener(ConsumerRebalanceListener):
    """Passes the group's decisions on. The client would only log what it raises."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._membership.revoke(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._membership.assign(list(assigned))


def _client(brokers: str, group: str, settings: ConsumerSettings, security: KafkaSecurity) -> AIOKafkaConsumer:
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
        # A rebalance waits this long for a member that drains and commits before it joins again.
        rebalance_timeout_ms=session_ms + round((settings.drain + settings.commit_timeout) * 1000),
        fetch_max_wait_ms=round(settings.fetch_max_wait * 1000),
        metadata_max_age_ms=_METADATA_AGE_MS,
        isolation_level=settings.isolation_level,
        **security.client_options(),
    )
