"""The sweeper: a saga whose reply is overdue asks again, or gives up and turns back.

A deadline runs from the broker's acknowledgement of the command (`commands_sent`, called by the relay), and fires only
once the replies have been read past it: after an outage the backlog of replies is read before any timer fires.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from opentelemetry import trace
from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts.topics import COMMAND_TOPICS, SAGA_REPLIES
from services.messaging import semconv
from services.messaging.loop import Loop
from services.messaging.outbox import OutboxRow
from services.messaging.storage import Database
from services.messaging.trace_context import bind_saga, restore
from services.oms import store
from services.oms.records import Saga
from services.oms.saga import Input, is_back
from services.oms.settings import TimeoutSettings
from services.oms.transitions import Transitions
from services.oms.writes import OmsWrite
from tracing.binding import use_context

CaughtUp = Callable[[], Mapping[tuple[str, int], datetime]]
Partitions = Callable[[str], Collection[int]]


class Timeouts:
    """Watches the deadlines of one orchestrator's sagas.

    Args:
        database: The orchestrator's database.
        transitions: Moves the overdue sagas.
        caught_up: Returns the time up to which each partition of the replies has been read and processed here.
        partitions: Returns the partitions that a topic has on the broker; none if it is not known.
        settings: How long a step may take, and how often it is tried.
    """

    def __init__(
        self,
        database: Database,
        transitions: Transitions,
        caught_up: CaughtUp,
        partitions: Partitions,
        settings: TimeoutSettings,
    ) -> None:
        self._database = database
        self._transitions = transitions
        self._caught_up = caught_up
        self._partitions = partitions
        self._settings = settings

    def loop(self) -> Loop:
        """Return the loop that sweeps."""
        return Loop("timeouts", self.sweep, interval_s=self._settings.sweep_interval)

    async def commands_sent(self, connection: AsyncConnection, rows: Sequence[OutboxRow]) -> None:
        """Start the deadlines of the commands among outbox rows that the broker has just acknowledged."""
        commands = {row.event_id: row.saga_id for row in rows if row.topic in COMMAND_TOPICS}
        if not commands:
            return
        sagas = await store.read_sagas(connection, set(commands.values()))
        awaiting = [(saga, self._time_allowed_s(saga)) for saga in sagas if saga.command_id in commands]
        if awaiting:
            await store.start_deadlines(connection, awaiting)

    async def sweep(self) -> bool:
        """Move every saga that is overdue; return True if there may be more."""
        async with self._database.reading() as connection:
            if not await store.is_any_overdue(connection):
                return False
        async with self._database.transaction(OmsWrite.REPLY_PROGRESS) as connection:
            for (topic, partition), moment in self._caught_up().items():
                if topic == SAGA_REPLIES:
                    await store.record_progress(connection, partition, time.time() - moment.timestamp())
            read_up_to = await store.progress(connection, self._partitions(SAGA_REPLIES))
            if read_up_to is None:
                return False
            due = await store.overdue(connection, read_up_to, self._settings.sweep_batch)
        for saga_id in due:
            await self._time_out(saga_id)
        return len(due) == self._settings.sweep_batch

    async def _time_out(self, saga_id: str) -> None:
        async with self._database.transaction(OmsWrite.TIMEOUT) as connection:
            held = await store.hold_saga(connection, saga_id)
            # Its reply, or another sweeper, may have come first.
            if held is None or held.saga.deadline is None or held.saga.deadline > held.at:
                return
            saga = held.saga
            tracer = trace.get_tracer(semconv.SCOPE_OMS)
            with (
                use_context(restore(saga.trace_context)),
                bind_saga(saga.saga_id, saga.order_id),
                tracer.start_as_current_span(semconv.timeout_span(saga.state)),
            ):
                await self._transitions.move(connection, held, self._verdict(saga))

    def _time_allowed_s(self, saga: Saga) -> float:
        return self._settings.deadline(saga.attempt, back=is_back(saga.definition, saga.state))

    def _verdict(self, saga: Saga) -> Input:
        back = is_back(saga.definition, saga.state)
        most = self._settings.attempts_back if back else self._settings.attempts_forward
        return Input.TIMED_OUT if saga.attempt < most else Input.GAVE_UP
