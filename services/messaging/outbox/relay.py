"""The relay: sends what the outbox holds, and records that it was sent.

Claim, send, settle. The claim takes as many rows as there are free slots, one per (topic, key); each is sent in a task
of its own, so a slow broker partition delays its own keys only; the outcomes of sends that ended about the same time
are settled in one transaction. While a row is in hand its lease is renewed, so leases are short: the rows of a relay
that died are soon sent by another one. Some may be sent twice; consumers recognise them by their event id.

The row's context is current around the send, so its span is the child of the span that the row names, which is the one
that wrote it unless the writer chose another, and links to the cause if the row names one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import structlog
from opentelemetry import metrics
from sqlalchemy.ext.asyncio import AsyncConnection

from services.messaging import crash_points, semconv
from services.messaging.crash_points import Write
from services.messaging.errors import MessagingError, Unavailable
from services.messaging.loop import Loop
from services.messaging.outbox.listening import Listener
from services.messaging.outbox.outbox import Outbox, OutboxRow
from services.messaging.part import Part
from services.messaging.readiness import Readiness
from services.messaging.retry import Backoff
from services.messaging.settings import RelaySettings
from services.messaging.storage import Database
from services.messaging.trace_context import about, bind_saga, restore
from tracing.binding import use_context
from tracing.semconv import MESSAGING_DESTINATION_NAME

OnSent = Callable[[AsyncConnection, Sequence[OutboxRow]], Awaitable[None]]


class Sent(Protocol):
    """The place that the broker gave a record."""

    @property
    def partition(self) -> int:
        """The record's partition."""

    @property
    def offset(self) -> int:
        """The record's offset."""


class RelayPublisher(Protocol):
    """A producer, as far as the relay needs one."""

    async def publish(self, topic: str, *, key: bytes | None, value: bytes | None) -> Sent:
        """Send one record and wait for the broker's acknowledgement."""


@dataclass(frozen=True)
class _Failed:
    """Why a row could not be sent: an error's class, and its text if it is one of ours (which hold no payload)."""

    reason: str

    @classmethod
    def by(cls, error: Exception) -> _Failed:
        name = type(error).__name__
        return cls(f"{name}: {error}" if isinstance(error, MessagingError) else name)


# How often a lease is renewed before it would expire.
_RENEWALS = 3

_Outcome = tuple[OutboxRow, _Failed | None]


class Relay(Part):
    """Sends the rows of one outbox until it is stopped.

    Args:
        database: The service's database.
        outbox: The rows.
        producer: Sends them.
        on_sent: Called with the connection and the rows in the transaction that marks them sent, once for each row.
            An exception that it raises ends the relay.
        settings: Sizes and times.
        readiness: Told while the database is away: the relay asks the database all the time, even without work.
    """

    def __init__(  # noqa: PLR0913  what a relay consists of
        self,
        database: Database,
        outbox: Outbox,
        producer: RelayPublisher,
        *,
        on_sent: OnSent | None = None,
        settings: RelaySettings | None = None,
        readiness: Readiness | None = None,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._producer = producer
        self._on_sent = on_sent
        self._settings = settings or RelaySettings.read()
        self._backoff = Backoff(self._settings.first_backoff, self._settings.longest_backoff)
        interval_s = self._settings.poll_interval
        self._claiming = Loop("outbox relay", self._claim, interval_s=interval_s, wake=outbox.added)
        self._listening = Loop("outbox listener", Listener(database, outbox.added.set).listen, interval_s=interval_s)
        if readiness is not None:
            readiness.watch("outbox", lambda: self._claiming.trouble)
        self._renewing = Loop("outbox leases", self._renew, interval_s=self._settings.lease / _RENEWALS)
        #: The rows that are claimed and not settled yet, by id.
        self._in_flight: dict[int, OutboxRow] = {}
        self._sends: set[asyncio.Task[None]] = set()
        self._outcomes: asyncio.Queue[_Outcome] = asyncio.Queue()
        self._log = structlog.get_logger(__name__)
        self._failures = metrics.get_meter(semconv.SCOPE_MESSAGING).create_counter(
            semconv.OUTBOX_FAILURES,
            unit=semconv.ATTEMPTS,
            description="Attempts to send an outbox row that failed; its key waits for the next one",
        )

    async def run(self) -> None:
        """Send until `stop`, then finish what is in flight within the drain time.

        Raises:
            ExceptionGroup: `on_sent` failed, or a statement is wrong.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(self._settle_for_ever()), tasks.create_task(self._renewing.run())]
                if not self._database.is_sqlite:
                    background.append(tasks.create_task(self._listening.run()))
                self._outbox.relay_started()
                await self._claiming.run()
                await self._drain()
                for task in background:
                    task.cancel()
        finally:
            self._outbox.relay_stopped()
            await self._abandon_sends()

    async def stop(self) -> None:
        """Claim no more; `run` returns when what is in flight has been settled."""
        self._outbox.relay_stopped()
        await self._claiming.stop()

    async def _claim(self) -> bool:
        """Start a send for each row that is due; return True if there may be more."""
        free = self._settings.max_in_flight - len(self._in_flight)
        if free <= 0:
            return False
        rows = await self._outbox.claim(free, self._settings.lease, besides=self._in_flight)
        for row in rows:
            self._in_flight[row.id] = row
            send = asyncio.create_task(self._send(row))
            self._sends.add(send)
            send.add_done_callback(self._sends.discard)
        return len(rows) == free

    async def _renew(self) -> bool:
        """Extend the leases of the rows in hand."""
        if self._in_flight:
            async with self._database.transaction(Write.OUTBOX_RENEW) as connection:
                await self._outbox.renew(connection, self._in_flight.values(), self._settings.lease)
        return False

    async def _send(self, row: OutboxRow) -> None:
        try:
            async with asyncio.timeout(self._settings.send_timeout):
                sent = await self._publish(row)
        except Exception as error:  # noqa: BLE001  whatever it is, it is this row's failure and blocks its key only
            self._outcomes.put_nowait((row, _Failed.by(error)))
        else:
            self._outcomes.put_nowait((replace(row, partition=sent.partition, offset=sent.offset), None))

    async def _publish(self, row: OutboxRow) -> Sent:
        bound = bind_saga(row.saga_id, row.order_id, **_attributes(row))
        with use_context(restore(row.trace_context)), bound:
            crash_points.before(Write.OUTBOX_SEND)
            sent = await self._producer.publish(row.topic, key=row.key.encode(), value=row.value)
            crash_points.after(Write.OUTBOX_SEND)
            return sent

    async def _settle_for_ever(self) -> None:
        while True:
            outcomes = [await self._outcomes.get()]
            while not self._outcomes.empty():
                outcomes.append(self._outcomes.get_nowait())
            self._report(await self._settle(outcomes))
            for row, _ in outcomes:
                self._in_flight.pop(row.id, None)
                self._outcomes.task_done()
            # The next row of a key that was in flight can be claimed now.
            self._outbox.added.set()

    async def _settle(self, outcomes: list[_Outcome]) -> list[_Outcome]:
        """Record outcomes, and return those of rows whose lease was still ours.

        While the database is away this waits for it: what was sent stays sent.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self._database.transaction(Write.OUTBOX_SETTLE) as connection:
                    return [
                        *await self._write_sent(connection, outcomes),
                        *await self._write_failed(connection, outcomes),
                    ]
            except Unavailable as error:
                self._log.warning("outbox.unrecorded", rows=len(outcomes), attempt=attempt, reason=str(error))
                await asyncio.sleep(self._delay_s(attempt))

    async def _write_sent(self, connection: AsyncConnection, outcomes: list[_Outcome]) -> list[_Outcome]:
        sent = [row for row, failed in outcomes if failed is None]
        ours = await self._outbox.mark_sent(connection, sent) if sent else []
        if ours and self._on_sent is not None:
            await self._on_sent(connection, ours)
        return [(row, None) for row in ours]

    async def _write_failed(self, connection: AsyncConnection, outcomes: list[_Outcome]) -> list[_Outcome]:
        return [
            (row, failed)
            for row, failed in outcomes
            if failed is not None
            and await self._outbox.mark_failed(connection, row, failed.reason, self._delay_s(row.attempts))
        ]

    def _delay_s(self, attempts: int) -> float:
        return self._backoff.delay_s(attempts) or self._settings.longest_backoff

    def _report(self, written: Iterable[_Outcome]) -> None:
        """Count and log each row that could not be sent, once that is recorded."""
        for row, failed in written:
            if failed is not None:
                self._failures.add(1, {MESSAGING_DESTINATION_NAME: row.topic})
                known = {"topic": row.topic, "event_id": str(row.event_id), "order_id": row.order_id}
                self._log.error("outbox.blocked", **known, attempts=row.attempts, reason=failed.reason)

    async def _drain(self) -> None:
        """Finish and settle what is in flight, within the drain time; give the rest back."""
        try:
            async with asyncio.timeout(self._settings.drain):
                await asyncio.gather(*self._sends)
                await self._outcomes.join()
        except TimeoutError:
            self._log.warning("outbox.drain_timeout", in_flight=len(self._in_flight))
            with suppress(Unavailable):
                await self._give_back()

    async def _give_back(self) -> None:
        """End the leases of what was not sent, so that the next relay need not wait until they expire."""
        async with self._database.transaction(Write.OUTBOX_RELEASE) as connection:
            await self._outbox.release(connection, self._in_flight.values())

    async def _abandon_sends(self) -> None:
        for send in self._sends:
            send.cancel()
        await asyncio.gather(*self._sends, return_exceptions=True)


def _attributes(row: OutboxRow) -> dict[str, str | int]:
    again: dict[str, str | int] = {semconv.SAGATRACE_OUTBOX_ATTEMPT: row.attempts} if row.attempts > 1 else {}
    waited = {semconv.SAGATRACE_OUTBOX_WAIT_MS: round(row.waited_s * 1000)}
    return again | waited | about(row.event_type, row.event_id, row.saga_id)
