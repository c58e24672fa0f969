"""What an operator does with sagas: retry one, cancel one, and list those that have been idle."""

import pytest
from opentelemetry import trace
from sqlalchemy import update

from services.messaging.storage.clock import database_time
from services.oms.problems import Conflict
from services.oms.records import SagaFilter
from services.oms.saga import SagaState, Status
from services.oms.settings import TimeoutSettings
from services.oms.tables import sagas
from services.oms.views import Placed
from tests.support.orders import OrderService, order_service
from tracing.testing import RecordedSpans, is_child

PATIENCE = TimeoutSettings(attempts_forward=1, attempts_back=1)


async def asks_for_attention(oms: OrderService) -> Placed:
    """Place an order that gets no reply, until its way back has no attempts left."""
    with trace.get_tracer("test").start_as_current_span("POST /orders"):
        placed = await oms.place()
    oms.read_replies()
    for _ in range(2):
        await oms.run_out()
        await oms.timeouts.sweep()
    return placed


async def test_a_retry_asks_once_more_in_the_sagas_trace(database_url: str, spans: RecordedSpans) -> None:
    """A retry sends the awaited command again, stays in the saga's trace, and its history names the operator."""
    async with order_service(database_url, PATIENCE) as oms:
        placed = await asks_for_attention(oms)
        before = await oms.command()
        assert (await oms.orders.retry(placed.order_id, actor="ada")) == placed
        again = await oms.command()
        assert (again.event_type, again.event_id == before.event_id) == ("inventory.release", False)
        history = (await oms.orders.saga(placed.saga_id)).history
        assert [(entry.input, entry.actor) for entry in history][-2:] == [("gave_up", None), ("retry", "ada")]
        retry = spans.one("request retry")
        assert is_child(retry, spans.one("POST /orders"))
        assert (history[-1].trace_id, list(retry.links)) == (placed.trace_id, [])
        await oms.answer("inventory.released")
        assert (await oms.orders.order(placed.order_id)).status is Status.FAILED


async def test_only_a_saga_that_needs_attention_is_retried(oms: OrderService) -> None:
    """A saga that still helps itself refuses a retry, even on its way back: a hasty operator sends nothing twice."""
    placed = await oms.place()
    for _ in range(2):
        before = await oms.messages()
        with pytest.raises(Conflict, match="only one that needs attention"):
            await oms.orders.retry(placed.order_id, actor="ada")
        assert await oms.messages() == before
        await oms.orders.cancel(placed.order_id, actor="ada")


async def test_the_history_names_who_canceled(oms: OrderService) -> None:
    """A cancel at a command line leaves its operator in the history, one by the API nobody."""
    by_hand, by_api = await oms.place(), await oms.place()
    await oms.orders.cancel(by_hand.order_id, actor="ada")
    await oms.orders.cancel(by_api.order_id)
    actors = [(await oms.orders.saga(placed.saga_id)).history[-1].actor for placed in (by_hand, by_api)]
    assert actors == ["ada", None]


async def test_sagas_are_found_by_state_status_and_rest(oms: OrderService) -> None:
    """Sagas are listed stalest first, by status, by state, and by how long they have not moved."""
    reserving, charging, failed = [await oms.place() for _ in range(3)]
    await oms.answer("inventory.rejected", reason="out_of_stock")
    async with oms.database.transaction() as connection:
        for placed, age_s in ((charging, 120), (failed, 60)):
            chosen = sagas.c.saga_id == placed.saga_id
            await connection.execute(update(sagas).where(chosen).values(updated_at=database_time(-age_s)))
        chosen = sagas.c.saga_id == charging.saga_id
        await connection.execute(update(sagas).where(chosen).values(state=SagaState.CHARGING))

    async def found(wanted: SagaFilter) -> list[str]:
        return [saga.saga_id for saga in await oms.orders.sagas(wanted, 10)]

    assert await found(SagaFilter()) == [charging.saga_id, failed.saga_id, reserving.saga_id]
    assert await found(SagaFilter(statuses=(Status.RUNNING,))) == [charging.saga_id, reserving.saga_id]
    assert await found(SagaFilter(states=(SagaState.CHARGING, SagaState.FAILED))) == [charging.saga_id, failed.saga_id]
    assert await found(SagaFilter(idle_s=90)) == [charging.saga_id]
