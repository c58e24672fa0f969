"""The inventory on a real database: one effect per saga, however often and in whatever order commands come."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from sqlalchemy import func, select

from services.contracts import topics
from services.contracts.commands import ReleaseStock, ReserveStock
from services.inventory import store
from services.inventory.delayed import DelayedReservations
from services.inventory.handlers import StockHandler
from services.inventory.stock import FailurePlan
from services.inventory.tables import movements, reservations, stock
from services.messaging.errors import Fatal, MessageTooLarge
from services.messaging.outbox.outbox import Outbox
from services.messaging.storage.database import Database
from services.messaging.storage.inbox import Inbox
from tests.support.commands import charge, release, reserve
from tests.support.replies import Reply, replies_in

_SEED = 100


@dataclass(frozen=True)
class Inventory:
    """The service without its broker."""

    database: Database
    handle: StockHandler
    delayed: DelayedReservations

    async def answers(self) -> list[Reply]:
        """Read what the service has answered so far."""
        return await replies_in(self.database)

    async def stock_of(self, sku: str) -> int | None:
        """Count a SKU's stock, and check that the ledger of movements says the same."""
        async with self.database.reading() as connection:
            quantity: int | None = await connection.scalar(select(stock.c.quantity).where(stock.c.sku == sku))
            moved = await connection.scalar(select(func.sum(movements.c.quantity)).where(movements.c.sku == sku))
            assert quantity == moved
            return quantity


@pytest.fixture
async def inventory(service_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Inventory]:
    """An inventory with 100 of each SKU, whose slow reservations are due at once."""
    database_url = await service_database("inventory")
    database = Database(database_url, schema="inventory")
    box = Outbox(database)
    plan = FailurePlan(quantity=_SEED, delay_s=0.001)
    yield Inventory(
        database,
        StockHandler(database, Inbox(topics.INVENTORY_GROUP), box, plan),
        DelayedReservations(database, box, plan),
    )
    await database.close()


def _reply(replies: list[Reply]) -> list[tuple[str, str | None]]:
    return [(reply.type, reply.reason) for reply in replies]


async def test_a_reservation_takes_stock_and_answers_its_command(inventory: Inventory) -> None:
    """A reserve moves the stock and its reply names the command, the step, the saga and the order."""
    command = reserve(sku="sku_a", quantity=7)
    await inventory.handle(command)
    (answer,) = await inventory.answers()
    assert answer.type == "inventory.reserved"
    assert (answer.saga_id, answer.order_id, answer.sequence) == (command.saga_id, command.order_id, 1)
    assert answer.command_id == str(command.payload.command_id)
    assert await inventory.stock_of("sku_a") == _SEED - 7


async def test_a_redelivered_command_changes_and_answers_nothing(inventory: Inventory) -> None:
    """The same command twice is one effect and one answer."""
    command = reserve()
    await inventory.handle(command)
    await inventory.handle(command)
    assert len(await inventory.answers()) == 1
    assert await inventory.stock_of("sku_a") == _SEED - 1


async def test_a_new_attempt_gets_the_stored_outcome(inventory: Inventory) -> None:
    """A second attempt at a step that was done is answered for its own command, and takes no more stock."""
    await inventory.handle(reserve())
    again = reserve(attempt=2)
    await inventory.handle(again)
    replies = await inventory.answers()
    assert _reply(replies) == [("inventory.reserved", None)] * 2
    assert replies[1].command_id == str(again.payload.command_id)
    assert await inventory.stock_of("sku_a") == _SEED - 1


async def test_a_release_gives_the_stock_back_once(inventory: Inventory) -> None:
    """Released twice, the stock is what it was before, and both releases succeed."""
    await inventory.handle(reserve(quantity=5))
    await inventory.handle(release())
    await inventory.handle(release())
    assert _reply(await inventory.answers())[1:] == [("inventory.released", None)] * 2
    assert await inventory.stock_of("sku_a") == _SEED


async def test_a_release_of_nothing_leaves_a_tombstone(inventory: Inventory) -> None:
    """A release that overtook its reserve succeeds, and the late reserve is refused as undone."""
    await inventory.handle(release())
    await inventory.handle(reserve())
    assert _reply(await inventory.answers()) == [("inventory.released", None), ("inventory.rejected", "undone")]
    assert await inventory.stock_of("sku_a") is None


async def test_a_released_step_is_not_done_again(inventory: Inventory) -> None:
    """A late attempt after the release is refused, and the stock stays whole."""
    for command in (reserve(), release(), reserve(attempt=2)):
        await inventory.handle(command)
    assert _reply(await inventory.answers())[-1] == ("inventory.rejected", "undone")
    assert await inventory.stock_of("sku_a") == _SEED


async def test_an_unavailable_sku_is_refused_for_good(inventory: Inventory) -> None:
    """`sku_none` is out of stock, each attempt says so, and a release after it succeeds."""
    for command in (reserve(sku="sku_none"), reserve(sku="sku_none", attempt=2), release()):
        await inventory.handle(command)
    refused = ("inventory.rejected", "out_of_stock")
    assert _reply(await inventory.answers()) == [refused, refused, ("inventory.released", None)]
    assert await inventory.stock_of("sku_none") == 0


async def test_stock_is_finite(inventory: Inventory) -> None:
    """What is not there is not reserved, and a release makes it available again."""
    await inventory.handle(reserve("saga-1", quantity=_SEED))
    await inventory.handle(reserve("saga-2", quantity=1))
    await inventory.handle(release("saga-1"))
    await inventory.handle(reserve("saga-3", quantity=_SEED))
    assert [said for said, _ in _reply(await inventory.answers())] == [
        "inventory.reserved",
        "inventory.rejected",
        "inventory.released",
        "inventory.reserved",
    ]
    assert await inventory.stock_of("sku_a") == 0


async def test_stock_is_not_sold_twice_at_the_same_time(inventory: Inventory) -> None:
    """Of many sagas that want the last pieces at once, as many get them as there are pieces."""
    await asyncio.gather(*(inventory.handle(reserve(f"saga-{number}", quantity=30)) for number in range(8)))
    said = [reply.type for reply in await inventory.answers()]
    assert (said.count("inventory.reserved"), said.count("inventory.rejected")) == (3, 5)
    assert await inventory.stock_of("sku_a") == _SEED - 90


async def test_attempts_and_releases_at_the_same_time_leave_nothing_reserved(inventory: Inventory) -> None:
    """Whatever the order in which concurrent commands of one saga win, all are answered and no stock stays taken."""
    commands: list[ReserveStock | ReleaseStock] = [
        reserve(),
        reserve(attempt=2),
        release(),
        release(),
        reserve(attempt=3),
    ]
    await asyncio.gather(*(inventory.handle(command) for command in commands))
    replies = await inventory.answers()
    assert {reply.command_id for reply in replies} == {str(command.payload.command_id) for command in commands}
    assert await inventory.stock_of("sku_a") in {None, _SEED}


async def test_a_slow_reservation_is_answered_when_due(inventory: Inventory) -> None:
    """`sku_slow` gets no answer from the handler; the loop answers, once, and takes the stock then."""
    await inventory.handle(reserve(sku="sku_slow"))
    assert await inventory.answers() == []
    await _until_settled(inventory)
    assert _reply(await inventory.answers()) == [("inventory.reserved", None)]
    assert await inventory.stock_of("sku_slow") == _SEED - 1
    assert await inventory.delayed.settle_next() is False


async def test_a_slow_reservation_answers_the_latest_attempt(inventory: Inventory) -> None:
    """An attempt made while the reservation is pending takes the answer over."""
    await inventory.handle(reserve(sku="sku_slow"))
    second = reserve(sku="sku_slow", attempt=2)
    await inventory.handle(second)
    await _until_settled(inventory)
    (answer,) = await inventory.answers()
    assert answer.command_id == str(second.payload.command_id)


async def test_a_release_cancels_a_slow_reservation(inventory: Inventory) -> None:
    """A release before the reservation is due cancels it: it is never answered and takes no stock."""
    await inventory.handle(reserve(sku="sku_slow"))
    await inventory.handle(release())
    assert await inventory.delayed.settle_next() is False
    assert _reply(await inventory.answers()) == [("inventory.released", None)]
    assert await inventory.stock_of("sku_slow") is None


async def test_a_failed_command_leaves_nothing(inventory: Inventory) -> None:
    """A command for another service is fatal, and nothing of it is kept, not even that it came."""
    with pytest.raises(Fatal):
        await inventory.handle(charge())
    assert await inventory.answers() == []


@pytest.mark.parametrize("command", [reserve(), release()], ids=["reserve", "release"])
async def test_an_effect_is_kept_with_its_answer_alone(
    inventory: Inventory, command: ReserveStock | ReleaseStock
) -> None:
    """If the answer can't be written nothing is, not even that the command came: its redelivery is answered."""
    mute = Outbox(inventory.database, max_bytes=1)
    handle = StockHandler(inventory.database, Inbox(topics.INVENTORY_GROUP), mute, FailurePlan(quantity=_SEED))
    with pytest.raises(MessageTooLarge):
        await handle(command)
    assert await inventory.stock_of("sku_a") is None
    await inventory.handle(command)
    assert len(await inventory.answers()) == 1


async def test_tombstones_are_pruned_after_their_retention_only(inventory: Inventory) -> None:
    """Pruning deletes old refusals and tombstones, and never a reservation that holds stock."""
    await inventory.handle(release("saga-1"))
    await inventory.handle(reserve("saga-2"))
    async with inventory.database.transaction() as connection:
        assert await store.prune(connection, 3600) == 0
        assert await store.prune(connection, -1) == 1
        kept = (await connection.execute(select(reservations.c.saga_id))).scalars().all()
    assert kept == ["saga-2"]


async def _until_settled(inventory: Inventory) -> None:
    """Run the loop's turns until the due reservation is decided: it is due within a millisecond."""
    for _ in range(1000):
        if await inventory.delayed.settle_next():
            return
    pytest.fail("the pending reservation never became due")
