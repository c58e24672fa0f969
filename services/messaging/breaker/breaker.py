"""The breaker of a group: after too many dead letters nothing is handled until a probe works or an operator resumes.

A bad deploy fails every record; without a breaker it would drain its topics into its dead letters. So:

| state | what happens |
|---|---|
| closed | records are handled, and their outcomes counted |
| open | nothing is handled: what has not begun stays in its topic; the member polls on with all partitions paused |
| probing | after the cool-down one record at a time is handled; enough that work close it, one that fails opens it |

It trips for the whole group: the trip is kept where all members see it (`TripStore`), also those that start later. Each
failed probe doubles the cool-down, so what a broken group can still dead-letter is a trickle. An operator closes the
breaker by deleting the trip. The record that trips it is a dead letter like any other: nothing is dropped.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import structlog
from opentelemetry import metrics

from services.messaging import semconv
from services.messaging.breaker.tally import Cooldown, Limits, Tally
from services.messaging.errors import Held, Unavailable
from tracing.semconv import MESSAGING_CONSUMER_GROUP_NAME

# How long another member's trip, or an operator's resume, may go unnoticed.
_LOOK_EVERY_S = 1.0
# How long the store may take: the member that asks it has records to poll.
_LOOK_S = 2.0


class BreakerState(StrEnum):
    """Which records are handled: all, none, or one at a time."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


@dataclass(frozen=True)
class Trip:
    """Why a group's breaker is open, and in how many seconds a record is tried again."""

    reason: str
    probe_in_s: float


class TripStore(Protocol):
    """Keeps a group's trip."""

    async def read(self) -> Trip | None:
        """Return the trip, if there is one."""

    async def trip(self, reason: str, cooldown: Cooldown) -> Trip:
        """Keep a trip: an existing one stays until its probe is due, and then becomes a longer one."""

    async def close(self) -> None:
        """Forget the trip."""


class TripInMemory:
    """The store of a consumer without a database: only this process knows the trip."""

    def __init__(self) -> None:
        self._trips = 0
        self._reason = ""
        self._probe_at = 0.0

    async def read(self) -> Trip | None:
        """Return the trip, if there is one."""
        return Trip(self._reason, self._probe_at - time.monotonic()) if self._trips else None

    async def trip(self, reason: str, cooldown: Cooldown) -> Trip:
        """Keep a trip."""
        self._trips, self._reason = self._trips + 1, reason
        self._probe_at = time.monotonic() + cooldown.after(self._trips)
        return Trip(reason, self._probe_at - time.monotonic())

    async def close(self) -> None:
        """Forget the trip."""
        self._trips = 0


class Breaker:
    """The breaker as one member of the group sees it.

    Args:
        group: The consumer group.
        limits: When it trips.
        cooldown: How long it stays open, and how many records have to work after that.
        store: Keeps the trip.
    """

    def __init__(self, group: str, limits: Limits, cooldown: Cooldown, store: TripStore) -> None:
        self._group = group
        self._tally = Tally(limits)
        self._cooldown = cooldown
        self._store = store
        self._state = BreakerState.CLOSED
        self._reason: str | None = None
        self._probe_at = 0.0
        self._worked = 0
        #: The state that the store does not know yet.
        self._unsaved: BreakerState | None = None
        self._looked_at: float | None = None
        self._log = structlog.get_logger(__name__)
        meter = metrics.get_meter(semconv.SCOPE_MESSAGING)
        self._trips = meter.create_counter(semconv.BREAKER_TRIPS, unit=semconv.TRIPS)
        self._is_open = meter.create_gauge(semconv.BREAKER_OPEN, unit=semconv.BREAKERS)

    @property
    def state(self) -> BreakerState:
        """The state that this member last learned."""
        return self._state

    @property
    def reason(self) -> str | None:
        """Why nothing is handled, and for how long; None while it is closed."""
        if self._state is BreakerState.CLOSED:
            return None
        left_s = max(0.0, self._probe_at - time.monotonic())
        when = (
            "records are tried one at a time"
            if self._state is BreakerState.PROBING
            else f"tried again in {left_s:.0f} s"
        )
        return f"the breaker is open: {self._reason}; {when}, or resumed by `sagatrace dlq resume {self._group}`"

    def admit(self) -> None:
        """Let a record through.

        Raises:
            Held: nothing may be handled now; the record is not done.
        """
        if self._state is BreakerState.OPEN:
            raise Held(f"the breaker of group {self._group} is open")

    def worked(self) -> None:
        """Count a record that was processed."""
        self._tally.worked()
        if self._state is BreakerState.PROBING:
            self._worked += 1
            if self._worked >= self._cooldown.probes:
                self._unsaved = BreakerState.CLOSED
                self._become(BreakerState.CLOSED)

    def failed(self, kind: str) -> None:
        """Count a record that is about to become a dead letter, as also the one that trips the breaker does.

        Raises:
            Held: it has already tripped; the record is not done.
        """
        self.admit()
        reason = self._tally.failed()
        if reason is None and self._state is BreakerState.PROBING:
            reason = "a record that was tried again became a dead letter"
        if reason is not None:
            self._reason = f"{reason}, the last for {kind}"
            self._unsaved = BreakerState.OPEN
            self._trips.add(1, {MESSAGING_CONSUMER_GROUP_NAME: self._group})
            self._become(BreakerState.OPEN)

    async def sync(self) -> None:
        """Store what happened here, and learn what happened elsewhere; cheap if called often.

        A store that is away, or does not answer within 2 seconds, changes nothing: an open breaker stays open.
        """
        now = time.monotonic()
        is_due = self._looked_at is None or now - self._looked_at >= _LOOK_EVERY_S
        if self._unsaved is None and not is_due:
            return
        self._looked_at = now
        try:
            async with asyncio.timeout(_LOOK_S):
                self._adopt(await self._exchanged())
        except (Unavailable, TimeoutError) as error:
            self._log.warning("breaker.unsynced", group=self._group, reason=str(error) or "the store does not answer")

    async def _exchanged(self) -> Trip | None:
        """Write what the store does not know yet, and return the trip that it holds."""
        unsaved = self._unsaved
        if unsaved is BreakerState.OPEN:
            trip = await self._store.trip(self._reason or "", self._cooldown)
        elif unsaved is BreakerState.CLOSED:
            await self._store.close()
            trip = None
        else:
            trip = await self._store.read()
        # What happened meanwhile is written next time.
        if self._unsaved is unsaved:
            self._unsaved = None
        return trip

    def _adopt(self, trip: Trip | None) -> None:
        if self._unsaved is not None:
            return
        if trip is None:
            self._become(BreakerState.CLOSED)
            return
        self._reason = trip.reason
        self._probe_at = time.monotonic() + trip.probe_in_s
        self._become(BreakerState.PROBING if trip.probe_in_s <= 0 else BreakerState.OPEN)

    def _become(self, state: BreakerState) -> None:
        self._is_open.set(int(state is not BreakerState.CLOSED), {MESSAGING_CONSUMER_GROUP_NAME: self._group})
        if state is self._state:
            return
        self._state = state
        self._worked = 0
        # While it is open nothing is counted, and what was counted before has had its consequence.
        self._tally.clear()
        level = self._log.info if state is BreakerState.CLOSED else self._log.error
        level(f"breaker.{state}", group=self._group, reason=self._reason)
