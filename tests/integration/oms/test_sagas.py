"""Sagas over a real database: what moves them, what is ignored and recorded, and what they send."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry import trace

from services.contracts.events import Reason
from services.contracts.topics import ORCHESTRATOR_GROUP, retry_topic
from services.messaging import semconv
from services.oms.problems import Conflict
from services.oms.records import SagaFilter
from services.oms.saga import Status
from services.oms.settings import TimeoutSettings
from tests.support.orders import OrderService, order_service, reply
from tests.support.spans import attributes_of
from tracing.testing import RecordedSpans, is_child

OUT_OF_STOCK = {"reason": "out_of_stock"}


async def types(oms: OrderService) -> list[str]:
    """Return the types of the messages in the outbox."""
    return [message.event_type for message in await oms.messages()]


async def test_an_order_is_completed_by_its_answers(oms: OrderService) -> None:
    """Placing an order and answering its commands sends each message once, in order, numbered by the saga's version."""
    placed = await oms.place()
    await oms.answer("inventory.reserved")
    await oms.answer("payment.charged")
    assert await types(oms) == [
        "order.created",
        "saga.started",
        "inventory.reserve",
        "payment.charge",
        "order.confirmed",
        "saga.completed",
    ]
    assert [message.sequence for message in await oms.messages()] == [1, 1, 1, 2, 3, 3]
    assert (await oms.orders.order(placed.order_id)).status is Status.COMPLETED


async def test_a_redelivered_answer_changes_nothing(oms: OrderService) -> None:
    """The same answer again is absorbed by the inbox: nothing is sent and nothing moves."""
    await oms.place()
    answered = await oms.answer("inventory.reserved")
    before = await oms.verdicts()
    await oms.replies(answered)
    assert await oms.verdicts() == before


async def test_an_answer_to_another_attempt_is_recorded_and_ignored(oms: OrderService) -> None:
    """A late answer, to a command that is no longer awaited, is in the history and moves nothing."""
    await oms.place()
    late = reply("inventory.rejected", await oms.command(), **OUT_OF_STOCK)
    await oms.answer("inventory.reserved")
    await oms.replies(late)
    assert (await oms.verdicts())[-1] == ("inventory.rejected", "stale", "charging")
    assert (await types(oms))[-1] == "payment.charge"


async def test_an_answer_that_makes_no_sense_is_recorded_and_ignored(oms: OrderService) -> None:
    """An answer to the awaited command that has no row in its state moves nothing, and is recorded."""
    await oms.place()
    await oms.answer("payment.charged")
    assert (await oms.verdicts())[-1] == ("payment.charged", "illegal", "reserving")


async def test_an_answer_about_an_unknown_saga_is_taken(oms: OrderService) -> None:
    """An answer for a saga that does not exist does not fail: it would come again forever."""
    await oms.place()
    stray = reply("inventory.reserved", await oms.command()).model_copy(update={"saga_id": "nobody"})
    await oms.replies(stray)
    assert [state for *_, state in await oms.verdicts()] == ["reserving"]


async def test_a_cancel_races_the_answer_to_one_end(oms: OrderService) -> None:
    """A cancel and the charge's answer at the same time end in exactly one of the two ways, never in both."""
    placed = await oms.place()
    await oms.answer("inventory.reserved")
    charged = reply("payment.charged", await oms.command())
    outcomes = await asyncio.gather(oms.replies(charged), oms.orders.cancel(placed.order_id), return_exceptions=True)
    status = (await oms.orders.order(placed.order_id)).status
    if status is Status.COMPLETED:
        assert isinstance(outcomes[1], Conflict)
    else:
        assert status is Status.COMPENSATING
        assert (await types(oms))[-1] == "payment.refund"


async def test_a_deadline_waits_until_the_replies_are_read(oms: OrderService) -> None:
    """A deadline that has passed by the clock fires only once every partition of the replies is read past it."""
    await oms.place()
    await oms.run_out()
    await oms.timeouts.sweep()
    assert [by for by, *_ in await oms.verdicts()] == ["start"]
    oms.read_replies()
    await oms.timeouts.sweep()
    assert [by for by, *_ in await oms.verdicts()] == ["start", "timed_out"]


@pytest.mark.parametrize("partitions", [1, 3, 8])
async def test_the_clock_waits_for_the_partitions_that_the_broker_has(database_url: str, partitions: int) -> None:
    """A deadline fires once as many partitions are read as the replies' topic has, be they fewer or more than four."""
    async with order_service(database_url, partitions=partitions) as oms:
        await oms.place()
        await oms.run_out()
        oms.read_replies(partitions - 1)
        await oms.timeouts.sweep()
        assert [by for by, *_ in await oms.verdicts()] == ["start"]
        oms.read_replies(partitions)
        await oms.timeouts.sweep()
        assert [by for by, *_ in await oms.verdicts()] == ["start", "timed_out"]


async def test_partitions_that_are_gone_don_t_stop_the_clock(database_url: str) -> None:
    """After the replies' topic was made anew with fewer partitions, what was read of the others holds no deadline."""
    async with order_service(database_url) as oms:
        await oms.place()
        await oms.run_out()
        oms.read_replies(moment=datetime.now(UTC) - timedelta(days=1))
        await oms.timeouts.sweep()
        assert [by for by, *_ in await oms.verdicts()] == ["start"]
    async with order_service(database_url, partitions=1) as oms:
        oms.read_replies(1)
        await oms.timeouts.sweep()
        assert [by for by, *_ in await oms.verdicts()] == ["start", "timed_out"]


async def test_an_unknown_topic_fires_no_deadline(database_url: str) -> None:
    """While the broker does not say which partitions the replies have, no deadline fires."""
    async with order_service(database_url, partitions=0) as oms:
        await oms.place()
        await oms.run_out()
        oms.read_replies()
        await oms.timeouts.sweep()
        assert [by for by, *_ in await oms.verdicts()] == ["start"]


async def test_what_is_read_of_the_retry_topic_fires_no_deadline(oms: OrderService) -> None:
    """The group's retry topic is not part of the replies: reading it to its end says nothing about them."""
    await oms.place()
    await oms.run_out()
    oms.read_replies()
    now = oms.read_up_to.copy()
    oms.read_up_to.clear()
    oms.read_up_to |= {(retry_topic(ORCHESTRATOR_GROUP), number): moment for (_, number), moment in now.items()}
    await oms.timeouts.sweep()
    assert [by for by, *_ in await oms.verdicts()] == ["start"]


async def test_a_dead_lettered_command_turns_the_saga_back_at_once(oms: OrderService) -> None:
    """A charge that became a dead letter may have been made: it is paid back, whatever the late answer says."""
    placed = await oms.place()
    await oms.answer("inventory.reserved")
    charge = await oms.command()
    await oms.answer("command.dead_lettered", reason="dead_lettered")
    assert (await types(oms))[-1] == "payment.refund"
    await oms.replies(reply("payment.charged", charge))
    await oms.answer("payment.refunded")
    await oms.answer("inventory.released")
    order = await oms.orders.order(placed.order_id)
    assert (order.status, order.reason) == (Status.FAILED, "dead_lettered")
    assert ("payment.charged", "stale", "failing_refund") in await oms.verdicts()


async def test_no_answer_at_all_turns_back_and_asks_for_attention(database_url: str) -> None:
    """Without any answer a saga asks again, turns back, asks again there, and ends where an operator finds it."""
    async with order_service(database_url, TimeoutSettings(attempts_forward=2, attempts_back=2)) as oms:
        placed = await oms.place()
        oms.read_replies()
        for _ in range(5):
            await oms.run_out()
            await oms.timeouts.sweep()
        assert [(by, state) for by, _, state in await oms.verdicts()] == [
            ("start", "reserving"),
            ("timed_out", "reserving"),
            ("gave_up", "failing_release"),
            ("timed_out", "failing_release"),
            ("gave_up", "failing_release"),
        ]
        assert [
            saga.order_id for saga in await oms.orders.sagas(SagaFilter(statuses=(Status.NEEDS_ATTENTION,)), 10)
        ] == [placed.order_id]
        await oms.answer("inventory.released")
        assert (await oms.orders.order(placed.order_id)).status is Status.FAILED


async def test_work_without_a_living_parent_stays_in_the_orders_trace(oms: OrderService, spans: RecordedSpans) -> None:
    """A timeout and a cancel continue the order's trace with its ids, and the cancel links to its request."""
    tracer = trace.get_tracer("test")
    with tracer.start_as_current_span("POST /orders"):
        placed = await oms.place()
    await oms.run_out()
    oms.read_replies()
    await oms.timeouts.sweep()
    with tracer.start_as_current_span("POST /orders/{order_id}/cancel"):
        await oms.orders.cancel(placed.order_id)
    entry, request = spans.one("POST /orders"), spans.one("POST /orders/{order_id}/cancel")
    for name in ("timeout reserving", "request cancel"):
        assert is_child(spans.one(name), entry)
        assert attributes_of(spans.one(name))[semconv.ORDER_ID] == placed.order_id
    assert [link.context for link in spans.one("request cancel").links] == [request.get_span_context()]
    assert attributes_of(request)[semconv.SAGA_ID] == placed.saga_id
    spans.assert_connected(placed.trace_id)


async def test_one_span_shows_the_whole_life(oms: OrderService, spans: RecordedSpans) -> None:
    """An end writes one `saga order` span from the order's start to its end, and a later refund one of its own."""
    with trace.get_tracer("test").start_as_current_span("POST /orders"):
        placed = await oms.place()
    await oms.answer("inventory.reserved")
    await oms.answer("payment.charged")
    life = spans.one("saga order completed")
    assert is_child(life, spans.one("POST /orders"))
    assert attributes_of(life)[semconv.SAGA_OUTCOME] == "completed"
    await oms.orders.refund(placed.order_id)
    await oms.answer("payment.refunded")
    await oms.answer("inventory.released")
    assert attributes_of(spans.one("refund order completed"))[semconv.SAGA_OUTCOME] == "refunded"
    assert (spans.one("refund order completed").start_time or 0) >= (life.end_time or 0)
    assert spans.one("saga order completed").context == life.context


async def test_a_life_is_shown_though_its_process_died_before_it_could(oms: OrderService) -> None:
    """An answer that ended a saga, and comes again, writes the span of that life, and only of that one."""
    with (
        RecordedSpans(instrumented=False) as recorded,
        recorded.tracer_provider.get_tracer("t").start_as_current_span("o"),
    ):
        placed = await oms.place()
    reserved = await oms.answer("inventory.reserved")
    charged = await oms.answer("payment.charged")
    await oms.orders.refund(placed.order_id)
    paid_back = await oms.answer("payment.refunded")
    released = await oms.answer("inventory.released")
    with RecordedSpans(instrumented=False) as recorded:
        for reply_ in (reserved, charged, paid_back, released, charged):
            await oms.replies(reply_)
    names = ["saga order completed", "saga order completed", "refund order completed"]
    assert [span.name for span in recorded.finished] == names, recorded.tree()
    life, again, refund = recorded.finished
    assert life.context == again.context != refund.context
    assert [attributes_of(span)[semconv.SAGA_OUTCOME] for span in (life, refund)] == ["completed", "refunded"]
    assert (life.end_time or 0) <= (refund.start_time or 0) < (refund.end_time or 0)


@pytest.mark.parametrize("reason", ["out_of_stock", "undone"])
async def test_the_reason_reaches_the_customer(oms: OrderService, reason: str) -> None:
    """The participant gives the reason why an order failed; the event and the API show it."""
    placed = await oms.place()
    await oms.answer("inventory.rejected", reason=reason)
    failed = [message for message in await oms.messages() if message.event_type in {"order.canceled", "saga.failed"}]
    assert [message.payload for message in failed] == [Reason(reason=reason)] * 2
    assert (await oms.orders.order(placed.order_id)).reason == reason
