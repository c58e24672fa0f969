"""The consumer: a member of a group that hands each message to a handler, and joins again when its client fails."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextvars import Context
from datetime import datetime
from typing import Self

import structlog
from aiokafka.errors import KafkaError

from services.contracts import parse_saga_event
from services.messaging.breaker import Breaker, Cooldown, Limits, TripInMemory, TripStore
from services.messaging.consuming import (
    Decode,
    Delivery,
    Handler,
    Ladder,
    Membership,
    OffsetsWentBack,
    OnUnknown,
    Unreadable,
)
from services.messaging.dead_letters import DeadLetters, Ledger, NoLedger
from services.messaging.errors import Unavailable
from services.messaging.part import Part
from services.messaging.producer import Producer
from services.messaging.readiness import Readiness
from services.messaging.retry import Backoff
from services.messaging.security import KafkaSecurity
from services.messaging.settings import ConsumerSettings

# A poll ends in time unless its client hangs in a rebalance; then it is not waited for much longer.
_POLL_GRACE_S = 1.0


class Consumer(Part):
    """Hands each message of some topics to a handler, at least once, in the order of its key.

    Args:
        brokers: `host:port`, or several separated by commas.
        group: The consumer group.
        topics: The topics to read.
        handler: Called with each parsed message, inside its process span.
        settings: Times and sizes; from the environment if not given.
        security: TLS and SASL; from the environment if not given.
        producer: Sends the dead letters; one of its own if not given.
        readiness: Told while the consumer can't do its work.
        on_unknown: Called with a record of an event topic whose type is not known; by default it is only counted.
        decode: Reads a record; by default its value is a message of the contract.
        ledger: Keeps the group's dead letters; without one, no key waits for them.
        trips: Keeps the breaker's state; without one, this process alone obeys it.

    Re-driven records come through `retry_topic(group)`, which must be one of the topics.

    Raises:
        ValueError: `topics` is empty, or a string instead of a list.
    """

    def __init__(  # noqa: PLR0913  a test or a service may replace each, by name
        self,
        brokers: str,
        group: str,
        topics: Iterable[str],
        handler: Handler,
        *,
        settings: ConsumerSettings | None = None,
        security: KafkaSecurity | None = None,
        producer: Producer | None = None,
        readiness: Readiness | None = None,
        on_unknown: OnUnknown | None = None,
        decode: Decode = parse_saga_event,
        ledger: Ledger | None = None,
        trips: TripStore | None = None,
    ) -> None:
        self._brokers = brokers
        self._group = group
        self._topics = _several(topics)
        self._settings = settings or ConsumerSettings.read()
        self._security = security or KafkaSecurity.read()
        self._producer = producer or Producer(brokers, client_id=group, security=self._security)
        self._owns_producer = producer is None
        self._readiness = readiness or Readiness()
        self._ladder = _ladder(self._settings)
        self._ledger = ledger or NoLedger()
        self._breaker = _breaker(group, self._settings, trips)
        self._delivery = Delivery(
            group,
            handler,
            DeadLetters(group, self._producer),
            self._ladder,
            readiness=self._readiness,
            breaker=self._breaker,
            on_unknown=on_unknown,
            decode=decode,
            ledger=self._ledger,
        )
        self._membership: Membership | None = None
        self._working: asyncio.Task[None] | None = None
        self._careful = False
        self._stopping = asyncio.Event()
        self._ending = asyncio.Lock()
        self._trouble: str | None = "joining the group"
        self._log = structlog.get_logger(__name__)

    async def start(self) -> None:
        """Join the group and begin to work, and return once partitions are assigned.

        Raises:
            Unavailable: no broker answers, the group can't be joined in time, or `stop` was called meanwhile.
            RuntimeError: it was started, or stopped, before.
        """
        if self._membership is not None or self._stopping.is_set():
            raise RuntimeError(f"the consumer of group {self._group} was started or stopped before: make a new one")
        self._readiness.watch(f"consumer {self._group}", self._why_not)
        membership = self._membership = self._new_membership()
        try:
            await self._join(membership)
        except BaseException:
            await self.stop()
            raise
        self._trouble = None
        self._working = asyncio.create_task(self._work(membership), name=f"consume {self._group}", context=Context())
        self._working.add_done_callback(self._report_death)

    async def run(self) -> None:
        """Work until `stop`, after a start if it has not been started.

        Raises:
            Unavailable: as `start`.
            Exception: a worker died.
        """
        if self._membership is None and not self._stopping.is_set():
            await self.start()
        working = self._working
        if working is None:
            return
        try:
            await asyncio.wait([working])
        finally:
            working.cancel()
        if not working.cancelled():
            working.result()

    async def stop(self) -> None:
        """Begin nothing more, drain within the budget, commit, and leave the group; a second call waits for the first.

        It takes at most `drain` and twice `commit_timeout`, and a few seconds more if clients have to be cut off.
        """
        self._stopping.set()
        async with self._ending:
            if self._working is not None:
                await asyncio.wait([self._working], timeout=self._settings.poll_timeout + _POLL_GRACE_S)
                self._working.cancel()
                await asyncio.wait([self._working])
            if self._membership is not None:
                await self._membership.leave()
            if self._owns_producer:
                await self._producer.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def caught_up(self) -> Mapping[tuple[str, int], datetime]:
        """Return, for each assigned (topic, partition), the moment up to which everything has been processed here."""
        return self._membership.caught_up() if self._membership is not None else {}

    def partitions(self, topic: str) -> Collection[int]:
        """Return the partitions that a topic has, as the broker last said; none if the broker doesn't know it."""
        return self._membership.partitions_of(topic) if self._membership is not None else ()

    async def _join(self, membership: Membership) -> None:
        # In a context of its own: what is current or bound here does not belong to the records to come.
        self._working = joining = asyncio.create_task(membership.join(), context=Context())
        try:
            await asyncio.wait([joining])
        finally:
            joining.cancel()
        if joining.cancelled():
            raise Unavailable(f"the consumer of group {self._group} was stopped while it joined")
        joining.result()

    async def _work(self, membership: Membership) -> None:
        """Work as a member, and as a new one whenever the client fails."""
        while True:
            try:
                return await membership.work(self._stopping)
            except (KafkaError, OffsetsWentBack, Unreadable) as error:
                self._careful = self._careful or isinstance(error, Unreadable)
                self._trouble = f"the client failed ({type(error).__name__}) and joins anew"
                self._log.error("consumer.client_failed", group=self._group, error_type=type(error).__name__)
            await membership.leave()
            membership = await self._join_anew()
            self._trouble = None

    async def _join_anew(self) -> Membership:
        """Try until the group is joined; a stop cancels this."""
        failed = 0
        while True:
            failed += 1
            await asyncio.sleep(self._ladder.waits.delay_s(failed) or 0)
            self._membership = membership = self._new_membership()
            try:
                await membership.join()
            except Unavailable as error:
                self._trouble = str(error)
                self._log.warning("consumer.join_failed", group=self._group, attempt=failed, reason=str(error))
                await membership.leave()
            else:
                return membership

    def _new_membership(self) -> Membership:
        return Membership(
            self._brokers,
            self._group,
            self._topics,
            self._delivery.deliver,
            self._settings,
            security=self._security,
            breaker=self._breaker,
            careful=self._careful,
            on_assigned=self._ledger.forget,
            is_skipped=self._ledger.is_skipped,
        )

    def _why_not(self) -> str | None:
        """Return why nothing is consumed: what failed, or a silence longer than the session timeout; else None."""
        if self._trouble is not None or self._membership is None:
            return self._trouble
        if open_for := self._breaker.reason:
            return open_for
        if held := self._membership.held():
            return "; ".join(f"{tp.topic}/{tp.partition} is held: offset {at} can't be read" for tp, at in held.items())
        silence_s = self._membership.silence_s()
        return None if silence_s <= self._settings.session_timeout else f"no broker has answered for {silence_s:.0f} s"

    def _report_death(self, working: asyncio.Task[None]) -> None:
        if not working.cancelled() and (error := working.exception()) is not None:
            self._trouble = f"the consumer died: {type(error).__name__}"
            self._log.error("consumer.died", group=self._group, error_type=type(error).__name__)


def _several(topics: Iterable[str]) -> tuple[str, ...]:
    several = () if isinstance(topics, str) else tuple(topics)
    if not several:
        raise ValueError("a consumer needs a list of topics, at least one")
    return several


def _breaker(group: str, settings: ConsumerSettings, trips: TripStore | None) -> Breaker:
    limits = Limits(settings.breaker_in_a_row, settings.breaker_window, settings.breaker_ratio)
    cooldown = Cooldown(settings.breaker_cooldown, settings.breaker_longest_cooldown, settings.breaker_probes)
    return Breaker(group, limits, cooldown, trips or TripInMemory())


def _ladder(settings: ConsumerSettings) -> Ladder:
    return Ladder(
        handler_timeout_s=settings.handler_timeout,
        retries=Backoff(settings.first_backoff, settings.longest_backoff, settings.retries),
        waits=Backoff(settings.first_backoff, settings.longest_backoff),
        redrives=settings.max_redrives,
    )
