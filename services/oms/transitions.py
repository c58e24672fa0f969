"""The one place where a saga moves: table, row, history and outbox, in the caller's transaction."""

from __future__ import annotations

import structlog
from opentelemetry import trace
from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts.topics import topic_of
from services.messaging import semconv
from services.messaging.errors import Unavailable
from services.messaging.outbox import Outbox
from services.messaging.storage import Database
from services.messaging.trace_context import capture, capture_below, capture_turn
from services.oms import store, summary
from services.oms.effects import Facts, message_for
from services.oms.metrics import SagaMetrics
from services.oms.records import LockedSaga, Saga, facts_of
from services.oms.saga import ANSWERS, Effect, Input, MissingDefinition, step

APPLIED = "applied"

_log = structlog.get_logger(__name__)


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
        """Apply an input to a saga: write its row, its history and the messages it sends, and return the moved saga.

        What a request or a timer makes it send is a child of the current span. What an answer makes it send is a step
        below the saga's entry, or below what turned it back, and links to the current span, which caused it.

        `reason` is a participant's reason for a refusal, `actor` the operator who asked for the move.

        Raises:
            IllegalMove: the saga's table has no row for it; nothing is written.
            Unavailable: this program lacks the saga's definition, which another instance has.
            ConcurrentUpdate: the row has changed since it was read.
        """
        saga = held.saga
        try:
            move = step(saga.definition, saga.state, by)
        except MissingDefinition as error:
            raise Unavailable(f"saga {saga.saga_id} can't be moved here: {error}") from error
        context = _turn_context(saga, by)
        moved = saga.moved(by, move, reason=reason, at=held.at, context=context)
        await store.write_saga(connection, moved)
        await store.add_history(
            connection,
            moved,
            moved_by=by,
            verdict=APPLIED,
            state_from=saga.state,
            actor=actor,
        )
        sends_in = capture_below(moved.steps_context) if context is None else context
        await self._perform(connection, facts_of(moved, held.order), moved, move.effects, sends_in)
        self._observe(connection, saga, moved, by)
        return moved

    async def _perform(
        self,
        connection: AsyncConnection,
        facts: Facts,
        saga: Saga,
        effects: tuple[Effect, ...],
        context: dict[str, str],
    ) -> None:
        if Effect.ASK_ATTENTION in effects:
            _log.error("saga.needs_attention", saga_id=saga.saga_id, state=saga.state, attempt=saga.attempt)
        messages = [message_for(effect, facts) for effect in effects if effect is not Effect.ASK_ATTENTION]
        await self._outbox.add_all(connection, [(topic_of(each), each) for each in messages], context=context)

    def _observe(self, connection: AsyncConnection, saga: Saga, moved: Saga, by: Input) -> None:
        """Put the move on the current span; once it is committed, count it, and show an end as a span of its own."""
        trace.get_current_span().set_attributes(
            # As plain strings: a subclass of `str` would take the span off the fast path.
            {
                semconv.SAGA_INPUT: by.value,
                semconv.SAGA_STATE_FROM: saga.state.value,
                semconv.SAGA_STATE_TO: moved.state.value,
            },
        )
        self._database.after_commit(connection, lambda: self._metrics.count_move(saga.state, moved.state))
        if moved.ended_at is not None:
            self._database.after_commit(connection, lambda: self._metrics.record_end(moved, summary.write_span(moved)))


def _turn_context(saga: Saga, by: Input) -> dict[str, str] | None:
    """Return the context of what a start, a request or a timer sends; None for an answer."""
    if by in ANSWERS:
        return None
    return capture() if by is Input.START else capture_turn(saga.trace_context)
