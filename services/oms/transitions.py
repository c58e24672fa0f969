"""The one place where a saga moves: table, row, history and outbox, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from opentelemetry import trace
from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts.topics import topic_of
from services.messaging import semconv
from services.messaging.errors import Unavailable
from services.messaging.outbox import NewRow, Outbox
from services.messaging.storage import Database
from services.messaging.trace_context import capture, capture_below, capture_turn
from services.oms import store, summary
from services.oms.effects import Facts, message_for
from services.oms.metrics import SagaMetrics
from services.oms.records import LockedSaga, Saga, facts_of
from services.oms.saga import ANSWERS, Effect, Input, MissingDefinition, step
from services.oms.store import HistoryRow

APPLIED = "applied"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Transition:
    """A move of a saga that is to be written: its row before and after, its entry in the history, and its messages."""

    before: Saga
    saga: Saga
    history: HistoryRow
    messages: Sequence[NewRow]


class Transitions:
    """Moves sagas through their table."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox
        self._metrics = SagaMetrics()

    async def move(
        self,
        connection: AsyncConnection,
        held: LockedSaga,
        by: Input,
        *,
        reason: str | None = None,
        actor: str | None = None,
    ) -> Saga:
        """Apply an input to a saga, as `decide` and `write` do, and return the moved saga.

        Raises:
            IllegalMove: as `decide`.
            Unavailable: as `decide`.
            ConcurrentUpdate: as `write`.
        """
        transition = self.decide(held, by, reason=reason, actor=actor)
        await self.write(connection, [transition])
        return transition.saga

    def decide(self, held: LockedSaga, by: Input, *, reason: str | None = None, actor: str | None = None) -> Transition:
        """Return the transition of a saga by an input, and put it on the current span.

        What a request or a timer makes it send is a child of the current span. What an answer makes it send is a step
        below the saga's entry, or below what turned it back, and links to the current span, which caused it.

        `reason` is a participant's reason for a refusal, `actor` the operator who asked for the move.

        Raises:
            IllegalMove: the saga's table has no row for it.
            Unavailable: this program lacks the saga's definition, which another instance has.
        """
        saga = held.saga
        try:
            move = step(saga.definition, saga.state, by)
        except MissingDefinition as error:
            raise Unavailable(f"saga {saga.saga_id} can't be moved here: {error}") from error
        context = _turn_context(saga, by)
        moved = saga.moved(by, move, reason=reason, at=held.at, context=context)
        history = store.history_of(moved, moved_by=by, verdict=APPLIED, state_from=saga.state, actor=actor)
        sends_in = capture_below(moved.steps_context) if context is None else context
        messages = self._messages(facts_of(moved, held.order), moved, move.effects, sends_in)
        _show(saga, moved, by)
        return Transition(saga, moved, history, messages)

    async def write(self, connection: AsyncConnection, transitions: Sequence[Transition]) -> None:
        """Write the sagas' rows, their history and their messages, in the caller's transaction.

        Raises:
            ConcurrentUpdate: a row has changed since it was read.
        """
        moved = [each.saga for each in transitions]
        await store.insert_sagas(connection, [saga for saga in moved if saga.version == 1])
        await store.write_sagas(connection, [saga for saga in moved if saga.version > 1])
        await store.add_history(connection, [each.history for each in transitions])
        await self._outbox.insert(connection, [row for each in transitions for row in each.messages])
        self._database.after_commit(connection, partial(self._count, transitions))

    def _messages(
        self, facts: Facts, saga: Saga, effects: tuple[Effect, ...], context: dict[str, str]
    ) -> Sequence[NewRow]:
        if Effect.ASK_ATTENTION in effects:
            _log.error("saga.needs_attention", saga_id=saga.saga_id, state=saga.state, attempt=saga.attempt)
        messages = [message_for(effect, facts) for effect in effects if effect is not Effect.ASK_ATTENTION]
        return [self._outbox.row_of(topic_of(each), each, context) for each in messages]

    def _count(self, transitions: Sequence[Transition]) -> None:
        """Count what was committed, and show each end as a span of its own."""
        for each in transitions:
            self._metrics.count_move(each.before.state, each.saga.state)
            if each.saga.ended_at is not None:
                self._metrics.record_end(each.saga, summary.write_span(each.saga))


def _show(saga: Saga, moved: Saga, by: Input) -> None:
    """Put a move on the current span."""
    trace.get_current_span().set_attributes(
        # As plain strings: a subclass of `str` would take the span off the fast path.
        {
            semconv.SAGA_INPUT: by.value,
            semconv.SAGA_STATE_FROM: saga.state.value,
            semconv.SAGA_STATE_TO: moved.state.value,
        },
    )


def _turn_context(saga: Saga, by: Input) -> dict[str, str] | None:
    """Return the context of what a start, a request or a timer sends; None for an answer."""
    if by in ANSWERS:
        return None
    return capture() if by is Input.START else capture_turn(saga.trace_context)
