"""The orchestrator's metrics on a real database: open sagas, moves, and how long sagas took."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from services.oms.metrics import open_saga_gauges
from services.oms.saga import ENDS, SagaState
from services.oms.settings import TimeoutSettings
from tests.support.eventually import eventually
from tests.support.measured import Points, points
from tests.support.orders import OrderService, order_service


@pytest.fixture
async def measured(reader: InMemoryMetricReader, database_url: str) -> AsyncIterator[OrderService]:
    """An order service that gives up at once, made when its meters are read."""
    del reader  # only its meters are asked for
    async with order_service(database_url, TimeoutSettings(attempts_forward=1, attempts_back=1)) as service:
        yield service


async def _gauges(oms: OrderService, reader: InMemoryMetricReader) -> Points:
    """Update the gauges from the store once, and read them."""
    loop = open_saga_gauges(oms.database, interval_s=3600.0)
    task = asyncio.create_task(loop.run())
    await eventually(lambda: reader.get_metrics_data() and points(reader, "sagatrace.saga.oldest_open"))
    await loop.stop()
    await asyncio.wait_for(task, 100)
    return points(reader, "sagatrace.saga.open")


def _overdue_s(reader: InMemoryMetricReader) -> float:
    return float(points(reader, "sagatrace.saga.overdue").get((), -1.0))


async def test_open_sagas_are_counted_where_they_are(measured: OrderService, reader: InMemoryMetricReader) -> None:
    """Each state but an end has a count, even zero; an ended saga is in none; the oldest one's age is in seconds."""
    await measured.place()
    await measured.answer("inventory.rejected", reason="out_of_stock")
    await measured.place()
    await measured.place()
    await measured.answer("inventory.reserved")
    counts = await _gauges(measured, reader)
    assert {key for key, count in counts.items() if count} == {("reserving", "running"), ("charging", "running")}
    assert {state for state, _ in counts} == {str(state) for state in SagaState if state not in ENDS}
    assert 0 < points(reader, "sagatrace.saga.oldest_open")[()] < 30


async def test_a_saga_that_needs_attention_is_counted_apart(
    measured: OrderService, reader: InMemoryMetricReader
) -> None:
    """A saga that has used up its attempts to turn back is counted as such, in the state in which it waits."""
    await measured.place()
    measured.read_replies()
    for _ in range(2):
        await measured.run_out()
        await measured.timeouts.sweep()
    counts = await _gauges(measured, reader)
    assert {key: count for key, count in counts.items() if count} == {("failing_release", "needs_attention"): 1}


async def test_a_deadline_that_nobody_fires_is_measured(measured: OrderService, reader: InMemoryMetricReader) -> None:
    """The gauge says for how long the earliest deadline has passed: zero before, and again once its timer has fired."""
    loop = open_saga_gauges(measured.database, interval_s=0.02)
    task = asyncio.create_task(loop.run())
    await measured.place()
    await eventually(lambda: _overdue_s(reader) == 0, timeout_s=20)
    await measured.run_out()
    await eventually(lambda: 1 <= _overdue_s(reader) < 30, timeout_s=20)
    measured.read_replies()
    await measured.timeouts.sweep()
    await eventually(lambda: _overdue_s(reader) == 0, timeout_s=20)
    await loop.stop()
    await asyncio.wait_for(task, 100)


async def test_moves_and_ends_are_measured(measured: OrderService, reader: InMemoryMetricReader) -> None:
    """Each move is counted by its two states, and each end measured by its outcome, a refund's as its own."""
    placed = await measured.place()
    await measured.answer("inventory.reserved")
    await measured.answer("payment.charged")
    await measured.orders.refund(placed.order_id)
    await measured.answer("payment.refunded")
    await measured.answer("inventory.released")
    assert points(reader, "sagatrace.saga.moves") == {
        ("new", "reserving"): 1,
        ("reserving", "charging"): 1,
        ("charging", "completed"): 1,
        ("completed", "returning_refund"): 1,
        ("returning_refund", "returning_release"): 1,
        ("returning_release", "refunded"): 1,
    }
    assert points(reader, "sagatrace.saga.duration") == {("completed",): 1, ("refunded",): 1}
