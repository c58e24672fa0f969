"""Replies move sagas: inbox, lock, match, move, in one transaction, which waiting replies share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from opentelemetry import metrics, trace
from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts import Message
from services.contracts.replies import Answer, Refusal
from services.messaging import semconv
from services.messaging.storage import Database, GroupCommit, Inbox, Member
from services.oms import store, summary
from services.oms.records import LockedSaga
from services.oms.saga import IllegalMove, Input
from services.oms.store import HistoryRow
from services.oms.transitions import APPLIED, Transition, Transitions
from services.oms.writes import OmsWrite
from tracing.semconv import MESSAGES

DUPLICATE = "duplicate"
STALE = "stale"
ILLEGAL = "illegal"
UNKNOWN_SAGA = "unknown_saga"


@dataclass(slots=True)
class _Received:
    """A reply, and what became of it."""

    reply: Message
    verdict: str = DUPLICATE

    @property
    def event_id(self) -> UUID:
        """The reply's event id, for the inbox."""
        return self.reply.event_id


class ReplyHandler:
    """Applies the participants' replies to their sagas.

    A reply counts only if it names the command that its saga awaits. A late reply, and one to another attempt, is
    recorded and ignored; a duplicate is ignored. All are counted by verdict.
    """

    def __init__(self, database: Database, inbox: Inbox, transitions: Transitions) -> None:
        self._database = database
        self._inbox = inbox
        self._transitions = transitions
        self._commits = GroupCommit(self._apply, key=lambda received: received.reply.saga_id)
        self._replies = metrics.get_meter(semconv.SCOPE_OMS).create_counter(
            semconv.SAGA_REPLIES,
            unit=MESSAGES,
            description="Answers of participants, by what the orchestrator made of them.",
        )

    async def __call__(self, reply: Message) -> None:
        """Apply one reply."""
        received = _Received(reply)
        await self._commits.add(received)
        trace.get_current_span().set_attribute(semconv.SAGA_VERDICT, received.verdict)
        self._replies.add(1, {semconv.SAGA_VERDICT: received.verdict})

    async def _apply(self, replies: Sequence[Member[_Received]]) -> None:
        async with self._database.transaction(OmsWrite.REPLY) as connection:
            first = await self._inbox.first_deliveries(connection, replies)
            for member in replies:
                if member not in first:
                    await self._write_span_again(connection, member.item.reply)
            if not first:
                return
            held = await store.hold_sagas(connection, [member.item.reply.saga_id for member in first])
            decided = [member.run(self._decide, member.item, held.get(member.item.reply.saga_id)) for member in first]
            await self._transitions.write(connection, [each for each in decided if isinstance(each, Transition)])
            await store.add_history(connection, [each for each in decided if isinstance(each, dict)])

    def _decide(self, received: _Received, held: LockedSaga | None) -> Transition | HistoryRow | None:
        """Return the move that a reply causes, or the entry in the history that it causes none."""
        if held is None:
            received.verdict = UNKNOWN_SAGA
            return None
        saga, reply, answer = held.saga, received.reply, received.reply.payload
        received.verdict = STALE
        if isinstance(answer, Answer) and saga.awaits(answer.command_id):
            reason = answer.reason if isinstance(answer, Refusal) else None
            try:
                transition = self._transitions.decide(held, Input(reply.event_type), reason=reason)
            except IllegalMove:
                received.verdict = ILLEGAL
            else:
                received.verdict = APPLIED
                return transition
        moved_by = Input(reply.event_type)
        return store.history_of(saga, moved_by=moved_by, verdict=received.verdict, state_from=saga.state)

    async def _write_span_again(self, connection: AsyncConnection, reply: Message) -> None:
        """Write the span of the end that this reply led to, if any: the process that applied it may have died."""
        ended = await store.read_end(connection, reply.saga_id, Input(reply.event_type))
        if ended is not None:
            summary.write_span(ended)
