"""Two definitions of the saga at once: a saga ends by the one that it began with, and neither may be missing."""

from __future__ import annotations

import pytest

from services.messaging.errors import ConfigurationError, Unavailable
from services.messaging.readiness import Readiness
from services.oms.definitions import check_definitions
from services.oms.main import OMS
from services.oms.records import SagaFilter
from services.oms.saga import DEFINITIONS, TABLE, Effect, Input, Move, SagaState, Status, Table
from tests.support.orders import OrderService, order_service, reply

# The second definition charges before it reserves, and asks an operator before it gives up a reservation: so it has
# states of the first one on another path, with other effects, and another answer to "is this the way back?".
PAY_FIRST: Table = {
    **{
        row: move
        for row, move in TABLE.items()
        if row[0] not in {SagaState.NEW, SagaState.CHARGING, SagaState.RESERVING}
    },
    (SagaState.NEW, Input.START): Move(SagaState.CHARGING, (Effect.ORDER_CREATED, Effect.SAGA_STARTED, Effect.CHARGE)),
    (SagaState.CHARGING, Input.CHARGED): Move(SagaState.RESERVING, (Effect.RESERVE,)),
    (SagaState.CHARGING, Input.DECLINED): Move(SagaState.FAILED, (Effect.ORDER_CANCELED, Effect.SAGA_FAILED)),
    (SagaState.RESERVING, Input.RESERVED): Move(SagaState.COMPLETED, (Effect.ORDER_CONFIRMED, Effect.SAGA_COMPLETED)),
    (SagaState.RESERVING, Input.REJECTED): Move(SagaState.FAILING_REFUND, (Effect.PAY_BACK,)),
    (SagaState.RESERVING, Input.TIMED_OUT): Move(SagaState.RESERVING, (Effect.RESERVE,)),
    (SagaState.RESERVING, Input.GAVE_UP): Move(SagaState.RESERVING, (Effect.ASK_ATTENTION,)),
    (SagaState.RESERVING, Input.RETRY): Move(SagaState.RESERVING, (Effect.RESERVE,)),
}


@pytest.fixture
def deploy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Adds the second definition, or takes one away, until the test ends: `deploy.setitem(DEFINITIONS, 2, ...)`."""
    return monkeypatch


async def test_what_began_by_the_first_definition_ends_by_it(oms: OrderService, deploy: pytest.MonkeyPatch) -> None:
    """While the second definition is deployed, a saga of the first goes its own way and a new one goes the new way."""
    old = await oms.place()
    await oms.answer("inventory.reserved")
    charge = await oms.command()
    deploy.setitem(DEFINITIONS, 2, PAY_FIRST)
    new = await oms.place()
    assert (await oms.command()).event_type == "payment.charge"
    await oms.answer("payment.charged")
    assert (await oms.command()).event_type == "inventory.reserve"
    await oms.replies(reply("payment.charged", charge))
    await oms.answer("inventory.reserved")
    assert [(await oms.orders.order(placed.order_id)).status for placed in (old, new)] == [Status.COMPLETED] * 2
    await oms.orders.refund(old.order_id)
    assert (await oms.command()).event_type == "payment.refund"


async def test_the_way_back_depends_on_the_sagas_own_definition(oms: OrderService, deploy: pytest.MonkeyPatch) -> None:
    """In one state at the same time, one saga is on its way back by its definition, and another by its own is not."""
    old = await oms.place()
    deploy.setitem(DEFINITIONS, 2, PAY_FIRST)
    new = await oms.place()
    await oms.answer("payment.charged")
    views = [(await oms.orders.saga(placed.saga_id)) for placed in (old, new)]
    assert [(view.state, view.status) for view in views] == [
        ("reserving", Status.RUNNING),
        ("reserving", Status.COMPENSATING),
    ]


async def test_a_saga_without_its_definition_stops_the_start_and_is_named(
    database_url: str, deploy: pytest.MonkeyPatch
) -> None:
    """The order service does not start while a saga that could still move has no definition, and says which."""
    async with order_service(database_url) as oms:
        deploy.setitem(DEFINITIONS, 2, PAY_FIRST)
        failed, completed, running = await oms.place(), await oms.place(), await oms.place()
        await _answer_all(oms, failed.saga_id, "payment.declined")
        await _answer_all(oms, completed.saga_id, "payment.charged", "inventory.reserved")
        await check_definitions(oms.database)
        deploy.delitem(DEFINITIONS, 2)
        deploy.setenv("DATABASE_URL", database_url)
        deploy.setenv("SAGATRACE_PRODUCER_START_TIMEOUT", "1")
        with pytest.raises(ConfigurationError, match="definition 2") as stopped:
            async with OMS.parts(Readiness()):
                pass
        assert [placed.saga_id in str(stopped.value) for placed in (completed, running, failed)] == [True, True, False]
        assert "DEFINITIONS" in str(stopped.value)


async def test_an_older_instance_leaves_a_newer_saga_alone(oms: OrderService, deploy: pytest.MonkeyPatch) -> None:
    """A reply or timeout of a saga whose definition is not here yet is no failure: it waits, and nothing moves."""
    deploy.setitem(DEFINITIONS, 2, PAY_FIRST)
    await oms.place()
    charged = reply("payment.charged", await oms.command())
    await oms.run_out()
    oms.read_replies()
    with deploy.context() as older:
        older.delitem(DEFINITIONS, 2)
        known = await oms.place()
        await oms.run_out()
        with pytest.raises(Unavailable, match="definition 2"):
            await oms.replies(charged)
        await oms.timeouts.sweep()
        assert [(by, verdict) for by, verdict, _ in await oms.verdicts()] == [
            ("start", "applied"),
            ("start", "applied"),
            ("timed_out", "applied"),
        ]
        assert (await oms.orders.saga(known.saga_id)).attempt == 2
        assert len(await oms.orders.sagas(SagaFilter(), 10)) == 2
    await oms.replies(charged)
    assert (await oms.verdicts())[-1] == ("payment.charged", "applied", "reserving")


async def _answer_all(oms: OrderService, saga_id: str, *event_types: str) -> None:
    for event_type in event_types:
        commands = [
            one for one in await oms.messages() if one.saga_id == saga_id and hasattr(one.payload, "command_id")
        ]
        why = {"reason": "card_declined"} if event_type == "payment.declined" else {}
        await oms.replies(reply(event_type, commands[-1], **why))
