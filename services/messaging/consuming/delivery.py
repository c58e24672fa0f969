"""The delivery of one record to its handler: the failure ladder.

| what happens | what is done |
|---|---|
| can't be read, breaks the contract, `Fatal` | to the dead letters at once |
| unknown type or version on an event topic | skipped and counted: a newer peer's event is none of ours |
| unknown type or version on a command or reply topic | to the dead letters at once: somebody waits for it |
| `Unavailable`, `ConnectionError` | waits and tries again without limit, and the service is unready: no fault of it |
| any other exception, the time limit | tried again with backoff inside the process span, then to the dead letters |
| a dead letter of its key is open | behind it into the dead letters, without an attempt; a compensation passes |
| too many dead letters | the breaker opens: what is at hand stays undone (`Held`), and comes again |
| the dead letter can't be written | waits and tries again without limit: nothing is committed past the record |

A re-driven record (it says where it came from at first) takes the same way: it is read as what it was, its span links
to the one that failed, and its row is closed once it is handled.

`deliver` returns once the record is done with, one way or another; only a cancellation and an open breaker leave it
undone, and its span, if it has begun, says `sagatrace.interrupted`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog
from opentelemetry import metrics
from opentelemetry.trace import Span

import tracing
from services.contracts import Invalid, Message, UnknownType, UnknownVersion, parse_saga_event
from services.contracts.codec import MESSAGE_TYPES
from services.contracts.commands import UNDOES
from services.contracts.topics import EVENT_TOPICS
from services.messaging import crash_points, semconv
from services.messaging.breaker import Breaker
from services.messaging.crash_points import Write
from services.messaging.dead_letters import (
    Burial,
    ConsumedRecord,
    DeadLetters,
    DeadLetterState,
    Failure,
    Ledger,
    NoLedger,
    Place,
    Received,
    error_text,
    error_type,
)
from services.messaging.errors import Held, MessagingError, ParkedBehind, Transient, is_away, is_fatal
from services.messaging.readiness import Readiness
from services.messaging.retry import Backoff
from services.messaging.trace_context import about, bind_saga
from tracing.binding import bind_below
from tracing.semconv import (
    ERROR_TYPE,
    MESSAGES,
    MESSAGING_CONSUMER_GROUP_NAME,
    MESSAGING_DESTINATION_NAME,
    SAGATRACE_INTERRUPTED,
)

Handler = Callable[[Message], Awaitable[None]]
OnUnknown = Callable[[ConsumedRecord], Awaitable[None]]
Decode = Callable[[ConsumedRecord], Message]

T = TypeVar("T")


async def _ignore(_: ConsumedRecord) -> None:
    """Do nothing about a record of an unknown type, which has been counted."""


@dataclass(frozen=True)
class Ladder:
    """How often and how long a delivery tries."""

    handler_timeout_s: float
    retries: Backoff
    waits: Backoff
    #: After how many re-drives a record that fails again is parked; 0 means never.
    redrives: int = 0


class Delivery:
    """Hands the records of one group to a handler.

    Args:
        group: The consumer group.
        handler: Called with each message, inside its process span.
        dead_letters: Takes what can't be processed.
        ladder: How often and how long it tries.
        readiness: Told while the database or the broker is away.
        on_unknown: Called with a record of an event topic whose type is not known; by default it is only counted.
        decode: Reads a record; raises a ContractError for one that it can't read.
        ledger: Knows which keys wait for a dead letter; without one, none does.
        breaker: Counts failures, and says when nothing may be handled any more.
    """

    def __init__(  # noqa: PLR0913  what a delivery consists of
        self,
        group: str,
        handler: Handler,
        dead_letters: DeadLetters,
        ladder: Ladder,
        *,
        readiness: Readiness,
        breaker: Breaker,
        on_unknown: OnUnknown | None = None,
        decode: Decode = parse_saga_event,
        ledger: Ledger | None = None,
    ) -> None:
        self._group = group
        self._handler = handler
        self._dead_letters = dead_letters
        self._ladder = ladder
        self._readiness = readiness
        self._on_unknown = on_unknown or _ignore
        self._decode = decode
        self._breaker = breaker
        self._ledger = ledger or NoLedger()
        self._log = structlog.get_logger(__name__)
        meter = metrics.get_meter(semconv.SCOPE_MESSAGING)
        self._failed = meter.create_counter(semconv.HANDLER_FAILURES, unit=semconv.ATTEMPTS)
        self._retried = meter.create_counter(semconv.RETRIES, unit=semconv.ATTEMPTS)
        self._buried = meter.create_counter(semconv.DEAD_LETTERS, unit=MESSAGES)
        self._skipped = meter.create_counter(semconv.UNKNOWN_MESSAGES, unit=MESSAGES)

    async def deliver(self, record: ConsumedRecord) -> None:
        """Process one record, however long that takes.

        Raises:
            CancelledError: it was cancelled before the record was done.
            Held: the breaker is open, and the record is not done.
        """
        self._breaker.admit()
        received = Received(record)
        interruption: BaseException | None = None
        # Read before the span begins, which is named by what was read.
        message, failure = self._read(received.original)
        attributes = received.attributes | _about(message, failure)
        with tracing.process(record, group=self._group, links=received.links, attributes=attributes) as span:
            try:
                await self._process(received, span, message, failure)
            except (asyncio.CancelledError, Held) as error:
                # Not a failure: the record comes again, here or elsewhere.
                span.set_attribute(SAGATRACE_INTERRUPTED, True)  # noqa: FBT003  the attribute's value
                interruption = error
            finally:
                # Once its partition is taken away, a record that waits is no longer a reason to be unready.
                self._readiness.ready(self._part(record))
        if interruption is not None:
            raise interruption

    async def _process(self, received: Received, span: Span, message: Message | None, failure: Failure | None) -> None:
        """Look up a record's standing; then settle it, unless it is already done."""
        record, ledger = received.record, self._ledger
        key, origin, redriven = record.key, received.origin, received.is_redriven
        with _bound(message):
            standing = await self._insist(record, span, lambda: ledger.standing(key, origin, redriven=redriven))
            if standing.is_done:
                span.set_attribute(semconv.SAGATRACE_DUPLICATE, True)  # noqa: FBT003  the attribute's value
                return
            if failure is None and standing.behind is not None and not _compensates(message):
                failure = _waits_behind(standing.behind)
            await self._settle(received, span, message, failure)

    async def _settle(
        self,
        received: Received,
        span: Span,
        message: Message | None,
        failure: Failure | None,
    ) -> None:
        """Handle a record if it can be handled, and record the outcome."""
        record = received.record
        if failure is None:
            failure = await self._handle(record, span, self._call(received.original, message))
        if failure is not None:
            await self._bury(received, span, failure, message)
            return
        if received.is_redriven:
            await self._insist(record, span, lambda: self._ledger.close(received.origin))
        self._breaker.worked()

    def _read(self, record: ConsumedRecord) -> tuple[Message | None, Failure | None]:
        """Decode a record; an unknown type on an event topic gives neither a message nor a failure."""
        try:
            return self._decode(record), None
        except UnknownType as error:
            return None, None if record.topic in EVENT_TOPICS else Failure(error)
        except Exception as error:  # noqa: BLE001  a decoder's bug must not stop its partition either
            return None, Failure(error)

    def _call(self, record: ConsumedRecord, message: Message | None) -> Callable[[], Awaitable[None]]:
        """Return the call for a message, or for a record whose type is not known."""
        if message is not None:
            return lambda: self._handler(message)
        self._skipped.add(1, {MESSAGING_DESTINATION_NAME: record.topic})
        return lambda: self._on_unknown(record)

    async def _handle(self, record: ConsumedRecord, span: Span, call: Callable[[], Awaitable[None]]) -> Failure | None:
        """Call until it works, fails for good, or has failed too often; return the failure."""
        failed = away = 0
        while (error := await self._attempt(call)) is not None:
            self._failed.add(1, self._counted(record, error))
            if is_away(error):
                away += 1
                await self._wait(record, span, error, away)
                continue
            failed += 1
            self._readiness.ready(self._part(record))
            delay_s = None if is_fatal(error) else self._ladder.retries.delay_s(failed)
            if delay_s is None:
                return Failure(error, failed)
            await self._retry(record, span, error, failed, delay_s)
        return None

    async def _attempt(self, call: Callable[[], Awaitable[None]]) -> Exception | None:
        """Call once, within the time limit, and return what it raised."""
        try:
            async with asyncio.timeout(self._ladder.handler_timeout_s):
                await call()
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise
            # Something that the handler waited for was cancelled: a failure of the handler, not the end of the worker.
            return Transient("what the handler waited for was cancelled")
        except Exception as error:  # noqa: BLE001  a handler's bug must not stop its partition
            return error
        return None

    def _part(self, record: ConsumedRecord) -> str:
        """Return a delivery's name for readiness; several of a partition, and of several groups, may wait at once."""
        return f"{self._group} {record.topic}/{record.partition}@{record.offset}"

    async def _retry(self, record: ConsumedRecord, span: Span, error: Exception, failed: int, delay_s: float) -> None:
        span.add_event(
            semconv.EVENT_RETRY,
            {ERROR_TYPE: _kind(error), semconv.RETRY_ATTEMPT: failed, semconv.RETRY_DELAY: delay_s},
        )
        self._retried.add(1, self._counted(record, error))
        self._log.warning("delivery.retry", **_where(record), error_type=_kind(error), attempt=failed)
        await asyncio.sleep(delay_s)

    async def _wait(self, record: ConsumedRecord, span: Span, error: Exception, times: int) -> None:
        reason = str(error) if isinstance(error, MessagingError) else _kind(error)
        self._readiness.unready(self._part(record), reason)
        if times == 1:
            span.add_event(semconv.EVENT_UNAVAILABLE, {ERROR_TYPE: _kind(error)})
            self._log.error("delivery.unavailable", **_where(record), error_type=_kind(error), reason=reason)
        delay_s = self._ladder.waits.delay_s(times)
        await asyncio.sleep(delay_s or self._ladder.waits.longest_s)

    async def _bury(self, received: Received, span: Span, failure: Failure, message: Message | None) -> None:
        """Send the record to the dead-letter topic, as a child of its failed process span, and then write its row."""
        record, error = received.record, failure.error
        if failure.state is DeadLetterState.FAILED:
            self._breaker.failed(_kind(error))
        if failure.state is DeadLetterState.FAILED and received.redrives >= self._ladder.redrives > 0:
            failure = replace(failure, state=DeadLetterState.PARKED)
        tracing.fail(span, error, _description(error))
        burial = Burial(record.key, received.origin, failure.state, error_type(error), received.redrives, message)
        await self._insist(record, span, lambda: self._write(record, failure, message))
        await self._insist(record, span, lambda: self._ledger.bury(burial))
        self._buried.add(1, self._counted(record, error))
        details = {"error_type": _kind(error), "attempts": failure.attempts, "state": failure.state}
        self._log.error("delivery.dead_letter", **_where(record), **details)

    async def _write(self, record: ConsumedRecord, failure: Failure, message: Message | None) -> None:
        crash_points.before(Write.DEAD_LETTER)
        with bind_below(**_about(message, failure)):
            await self._dead_letters.add(record, failure)
        crash_points.after(Write.DEAD_LETTER)

    async def _insist(self, record: ConsumedRecord, span: Span, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it works: nothing may be committed past a record that is kept nowhere else."""
        times = 0
        while True:
            try:
                return await call()
            except Exception as error:  # noqa: BLE001  whatever it is, the record must not be lost
                times += 1
                await self._wait(record, span, error, times)

    def _counted(self, record: ConsumedRecord, error: BaseException) -> dict[str, str]:
        return {
            MESSAGING_CONSUMER_GROUP_NAME: self._group,
            MESSAGING_DESTINATION_NAME: record.topic,
            ERROR_TYPE: _kind(error),
        }


def _bound(message: Message | None) -> AbstractContextManager[object]:
    return nullcontext() if message is None else bind_saga(message.saga_id, message.order_id)


def _about(message: Message | None, failure: Failure | None) -> dict[str, str | bool]:
    """Return what spans say of a record from their start; a type that the contract doesn't know must name none."""
    if message is not None:
        known = about(message.event_type, message.event_id, message.saga_id)
        return known if message.event_type in MESSAGE_TYPES else _untyped(known)
    error = failure.error if failure is not None else None
    kind = error.event_type if isinstance(error, Invalid | UnknownVersion) else None
    return {} if kind is None else {semconv.SAGATRACE_MESSAGE_TYPE: kind}


def _untyped(known: dict[str, str | bool]) -> dict[str, str | bool]:
    return {name: value for name, value in known.items() if name != semconv.SAGATRACE_MESSAGE_TYPE}


def _description(error: BaseException) -> str | None:
    """Return the description of a failed span's status, such as `Invalid: payload.total: missing`; None for others'."""
    text = error_text(error)
    return f"{_kind(error)}: {text}" if text else None


def _compensates(message: Message | None) -> bool:
    """Return whether a message undoes a step: that is safe in any order, and must not wait for an operator."""
    return message is not None and message.event_type in UNDOES


def _waits_behind(place: Place) -> Failure:
    return Failure(ParkedBehind(f"{place} is a dead letter of the same key"), 0, DeadLetterState.BEHIND, place)


def _where(record: ConsumedRecord) -> dict[str, str | int]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _kind(error: BaseException) -> str:
    return type(error).__qualname__
