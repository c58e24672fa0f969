"""The consumer: polls raw records, hands them to their partitions' workers, and commits what is done.

The client's traps that shape it (aiokafka 0.14):

- `getmany(timeout_ms=...)` is not cancelled while it is used: a cancelled fetch leaks a counter, and
  `max_poll_interval_ms` is then never enforced again. Decoding is ours: a raising deserializer would loop for ever.
- Several assignors cost a join each, and the sticky one keeps its state in its class: there is one, round robin.
- `commit` and `stop` may wait for ever with the broker away: each has a limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextvars import Context
from datetime import datetime
from typing import Self

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError

from services.contracts import parse_saga_event
from services.messaging.assignment import Assignment
from services.messaging.dead_letters import DeadLetters
from services.messaging.delivery import Decode, Delivery, Handler, Ladder, OnUnknown
from services.messaging.errors import Unavailable
from services.messaging.producer import Producer
from services.messaging.readiness import Readiness
from services.messaging.retry import Backoff
from services.messaging.settings import ConsumerSettings

# How soon a topic is found that was created after its consumer; the client's own 5 minutes are long to wait.
_METADATA_AGE_MS = 30_000


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
        self._assignment: Assignment | None = None
        self._polling: asyncio.Task[None] | None = None
        self._joined = asyncio.Event()
        self._stopping = False
        self._log = structlog.get_logger(__name__)

    async def start(self) -> None:
        """Join the group and begin to work; return once partitions are assigned.

        Raises:
            Unavailable: no broker answers, or the group can't be joined in time.
        """
        self._client = _client(self._brokers, self._group, self._settings)
        deliver = self._delivery.deliver
        self._assignment = Assignment(self._group, self._client, deliver, self._settings, self._readiness)
        self._client.subscribe(self._topics, listener=self._assignment)
        try:
            async with asyncio.timeout(self._settings.join_timeout):
                await self._client.start()
                # A context of its own: polling is no part of the trace of whoever starts it.
                polling = self._poll(self._client, self._assignment)
                self._polling = asyncio.create_task(polling, name=f"poll {self._group}", context=Context())
                await self._first_assignment(self._polling, self._assignment)
        except (KafkaError, OSError) as error:  # a TimeoutError is an OSError
            await self.stop()
            reason = f"group {self._group} can't be joined at KAFKA_BOOTSTRAP_SERVERS={self._brokers}"
            raise Unavailable(f"{reason}: {type(error).__name__}") from error
        self._joined.set()

    async def joined(self) -> None:
        """Wait until the consumer has been started and has joined its group."""
        await self._joined.wait()

    async def run(self) -> None:
        """Work until `stop`, starting first if need be.

        Raises:
            Unavailable: as `start` does.
            Exception: the poll loop or a worker died.
        """
        if self._polling is None and not self._stopping:
            await self.start()
        if self._polling is not None:
            await asyncio.wait([self._polling])
            if not (self._stopping and self._polling.cancelled()):
                self._polling.result()

    async def stop(self) -> None:
        """Take nothing more, drain within the budget, commit, and leave the group. Every step is bounded."""
        self._stopping = True
        if self._polling is not None:
            # A poll can't end while the group is being joined anew; nothing of this client is used after it.
            await asyncio.wait([self._polling], timeout=self._settings.poll_timeout + self._settings.commit_timeout)
            self._polling.cancel()
        if self._assignment is not None:
            await self._assignment.give_up()
        if self._client is not None:
            await self._leave(self._client)
        if self._owns_producer:
            await self._producer.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def caught_up(self) -> Mapping[tuple[str, int], datetime]:
        """Tell for each assigned (topic, partition) the moment before which all that was written to it is processed."""
        return self._assignment.caught_up() if self._assignment is not None else {}

    async def _first_assignment(self, polling: asyncio.Task[None], assignment: Assignment) -> None:
        joined = asyncio.create_task(assignment.joined.wait())
        try:
            await asyncio.wait([joined, polling], return_when=asyncio.FIRST_COMPLETED)
            if polling.done():
                await polling
        finally:
            joined.cancel()

    async def _poll(self, client: AIOKafkaConsumer, assignment: Assignment) -> None:
        timeout_ms = round(self._settings.poll_timeout * 1000)
        while not self._stopping:
            assignment.take(await client.getmany(timeout_ms=timeout_ms, max_records=self._settings.max_poll_records))
            await assignment.listen()
            await assignment.commit_if_due()

    async def _leave(self, client: AIOKafkaConsumer) -> None:
        try:
            async with asyncio.timeout(self._settings.commit_timeout):
                await client.stop()
        except (KafkaError, TimeoutError) as error:
            self._log.warning("consumer.leave_failed", group=self._group, reason=type(error).__name__)


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
        # Partitions are drained and committed inside the rebalance, while the session is kept alive.
        rebalance_timeout_ms=round((settings.session_timeout + settings.drain + settings.commit_timeout) * 1000),
        metadata_max_age_ms=_METADATA_AGE_MS,
        fetch_max_wait_ms=round(settings.fetch_max_wait * 1000),
    )


def _ladder(settings: ConsumerSettings) -> Ladder:
    return Ladder(
        handler_timeout_s=settings.handler_timeout,
        retries=Backoff(settings.first_backoff, settings.longest_backoff, settings.retries),
        waits=Backoff(settings.first_backoff, settings.longest_backoff),
    )
