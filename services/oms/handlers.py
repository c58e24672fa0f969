"""Replies move sagas: inbox, lock, match, move, in one transaction."""

from __future__ import annotations

from opentelemetry import metrics, trace
from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts import Message
from services.contracts.replies import Answer, Refusal
from services.messaging import semconv
from services.messaging.storage import Database, Inbox
from services.oms import store, summary
from services.oms.records import LockedSaga, Saga
from services.oms.saga import IllegalMove, Input
from services.oms.transitions import APPLIED, Transitions
from services.oms.writes import OmsWrite
from tracing.semconv import MESSAGES

DUPLICATE = "duplicate"
STALE = "stale"
ILLEGAL = "illegal"
UNKNOWN_SAGA = "unknown_saga"


class ReplyHandler:
    """Applies the participants' replies to their sagas.

    A reply counts only if it names the command that its saga awaits. A late reply, and one to another attempt, is
    recorded and ignored; a duplicate is ignored. All are counted by verdict.
    """

    def __init__(self, database: Database, inbox: Inbox, transitions: Transitions) -> None:
        self._database = database
        self._inbox = inbox
        self._transitions = transitions
        self._replies = metrics.get_meter(semconv.SCOPE_OMS).create_counter(
            semconv.SAGA_REPLIES,
            unit=MESSAGES,
            description="Answers of participants, by what the orchestrator made of them.",
        )

    async def __call__(self, reply: Message) -> None:
        """Apply one reply."""
        async with self._database.transaction(OmsWrite.REPLY) as connection:
            verdict = await self._apply(connection, reply)
        trace.get_current_span().set_attribute(semconv.SAGA_VERDICT, verdict)
        self._replies.add(1, {semconv.SAGA_VERDICT: verdict})

    async def _apply(self, connection: AsyncConnection, reply: Message) -> str:
        if not await self._inbox.first_delivery(connection, reply.event_id):
            await self._write_span_again(connection, reply)
            return DUPLICATE
        held = await store.hold_saga(connection, reply.saga_id)
        if held is None:
            return UNKNOWN_SAGA
        saga = held.saga
        answer = reply.payload
        verdict = STALE
        if isinstance(answer, Answer) and saga.awaits(answer.command_id):
            verdict = await self._move(connection, held, reply, answer)
        if verdict != APPLIED:
            await self._record(connection, saga, reply, verdict)
        return verdict

    async def _move(self, connection: AsyncConnection, held: LockedSaga, reply: Message, answer: Answer) -> str:
        reason = answer.reason if isinstance(answer, Refusal) else None
        try:
            await self._transitions.move(connection, held, Input(reply.event_type), reason=reason)
        except IllegalMove:
            return ILLEGAL
        return APPLIED

    async def _write_span_again(self, connection: AsyncConnection, reply: Message) -> None:
        """Write the span of the end that this reply led to, if any: the process that applied it may have died."""
        ended = await store.read_end(connection, reply.saga_id, Input(reply.event_type))
        if ended is not None:
            summary.write_span(ended)

    async def _record(self, connection: AsyncConnection, saga: Saga, reply: Message, verdict: str) -> None:
        await store.add_history(
            connection,
            saga,
            moved_by=Input(reply.event_type),
            verdict=verdict,
            state_from=saga.state,
        )
