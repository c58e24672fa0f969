"""The orchestrator's metrics: what its sagas do, how long they take, and which are open.

The counts of open sagas come from the store, so every instance reports the same, and a query takes the largest.
All other metrics are each instance's own and are summed.
"""

from __future__ import annotations

from opentelemetry import metrics, trace
from opentelemetry.trace import Span

from services.messaging import semconv
from services.messaging.loop import Loop
from services.messaging.storage import Database
from services.oms import store
from services.oms.records import Saga
from services.oms.saga import DEFINITIONS, ENDS, SagaState, Status, is_back, status_of
from tracing.semconv import SECONDS


class SagaMetrics:
    """Counts moves, and measures how long sagas take."""

    def __init__(self) -> None:
        meter = metrics.get_meter(semconv.SCOPE_OMS)
        self._moves = meter.create_counter(
            semconv.SAGA_MOVES,
            unit=semconv.MOVES,
            description="Moves of sagas, by the states they lead from and to; a repeated step leads to the same",
        )
        self._duration = meter.create_histogram(
            semconv.SAGA_DURATION,
            unit=SECONDS,
            description="Time from the start of a saga, or of its refund, to its end, by outcome",
            explicit_bucket_boundaries_advisory=semconv.SAGA_BUCKETS,
        )

    def count_move(self, before: SagaState, after: SagaState) -> None:
        """Count a move."""
        self._moves.add(1, {semconv.SAGA_STATE_FROM: before, semconv.SAGA_STATE_TO: after})

    def record_end(self, saga: Saga, span: Span) -> None:
        """Record how long a saga, or its refund, took; the exemplar is the span that shows it."""
        seconds = (saga.updated_at - saga.phase_began_at).total_seconds()
        context = trace.set_span_in_context(span)
        self._duration.record(max(0.0, seconds), {semconv.SAGA_OUTCOME: saga.status}, context)


def open_saga_gauges(database: Database, *, interval_s: float = 5.0) -> Loop:
    """Return the loop that counts the open sagas and finds the oldest and the most overdue, every `interval_s` seconds.

    The count reads every open saga. With very many of them it runs less often: it may take a hundredth of the time.
    """
    meter = metrics.get_meter(semconv.SCOPE_OMS)
    count = meter.create_gauge(semconv.SAGAS_OPEN, unit=semconv.SAGAS, description="Sagas that have not ended")
    age = meter.create_gauge(semconv.SAGA_OLDEST_OPEN, unit=SECONDS, description="Age of the oldest of them")
    overdue = meter.create_gauge(
        semconv.SAGA_OVERDUE,
        unit=SECONDS,
        description="Time since the earliest deadline that no timer has fired for",
    )

    async def turn() -> bool:
        async with database.reading() as connection:
            found = await store.open_sagas(connection)
            oldest_s = await store.oldest_open_s(connection)
            overdue_s = await store.overdue_s(connection)
        for state, status in _where_open():
            count.set(found.get((state, status), 0), {semconv.SAGA_STATE: state, semconv.SAGA_STATUS: status})
        age.set(oldest_s)
        overdue.set(overdue_s)
        return False

    return Loop("open sagas", turn, interval_s=interval_s, share=0.01)


def _where_open() -> set[tuple[SagaState, Status]]:
    """Return every state and status of an open saga: a gauge keeps its last value, so each is set every time."""
    return {
        (state, status_of(definition, state, needs_attention=asks))
        for definition in DEFINITIONS
        for state in SagaState
        if state not in ENDS
        for asks in ((False, True) if is_back(definition, state) else (False,))
    }
