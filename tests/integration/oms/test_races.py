"""A cancel that races each reply, before, at and after the pivot, in two instances of the order service at once."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from services.contracts import Message
from services.messaging.outbox.outbox import Outbox
from services.oms import store
from services.oms.problems import Conflict
from services.oms.saga import ENDS, Input, SagaState, Status
from services.oms.transitions import Transitions
from services.oms.views import Placed
from tests.chaos.history import Moved, check_moves
from tests.support.orders import OrderService, order_service
from tests.support.participants import Participants, commands, said

# The replies that have been applied when the race begins, by the commands that they refuse.
POINTS = {
    "before the pivot, reserved": (0, frozenset[str]()),
    "before the pivot, rejected": (0, frozenset({"inventory.reserve"})),
    "at the pivot, charged": (1, frozenset[str]()),
    "at the pivot, declined": (1, frozenset({"payment.charge"})),
    "after the pivot": (2, frozenset[str]()),
    "on the way back": (2, frozenset({"payment.charge"})),
}
ROUNDS = 8
ENDINGS = {
    Status.COMPLETED: ["order.confirmed", "saga.completed"],
    Status.CANCELED: ["order.canceled", "saga.canceled"],
    Status.FAILED: ["order.canceled", "saga.failed"],
}


@dataclass(frozen=True)
class Pair:
    """Two instances on one database, each with connections of its own."""

    one: OrderService
    other: OrderService


@pytest.fixture
async def pair(database_url: str) -> AsyncIterator[Pair]:
    """Both instances."""
    async with order_service(database_url) as one, order_service(database_url) as other:
        yield Pair(one, other)


@pytest.mark.parametrize("point", POINTS)
async def test_a_cancel_and_a_reply_have_one_end(pair: Pair, point: str) -> None:
    """Whoever comes first, the saga has exactly one end, which is "canceled" if and only if the cancel was accepted."""
    applied, refuses = POINTS[point]
    for turn in range(ROUNDS):
        participants = Participants(refuses)
        placed = await pair.one.place()
        for _ in range(applied):
            await _answer(pair.one, placed, participants)
        asked = (await commands(pair.one, placed.saga_id))[-1]
        answer = participants.answer(asked)
        racers = [
            pair.one.replies(answer),
            pair.other.orders.cancel(placed.order_id),
            pair.one.orders.cancel(placed.order_id),
        ]
        replied, *canceled = await _race(racers, turn)
        assert replied is None
        # A repeated cancel gets the first answer, unless the reply came in between: then the first was refused, too.
        assert len({type(outcome) for outcome in canceled}) == 1
        await _finish(pair, placed, participants)
        status = await _check_one_end(pair.one, placed, participants)
        assert (status is Status.CANCELED) == isinstance(canceled[0], Placed)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("first", ["cancel", "reply"])
async def test_the_end_shows_who_came_first(oms: OrderService, point: str, first: str) -> None:
    """One after the other: a cancel before the pivot's reply wins; one after it or on the way back is refused."""
    applied, refuses = POINTS[point]
    participants = Participants(refuses)
    placed = await oms.place()
    for _ in range(applied):
        await _answer(oms, placed, participants)
    answer = participants.answer((await commands(oms, placed.saga_id))[-1])
    if first == "reply":
        await oms.replies(answer)
    (outcome,) = await asyncio.gather(oms.orders.cancel(placed.order_id), return_exceptions=True)
    if first == "cancel":
        await oms.replies(answer)
    await _finish(Pair(oms, oms), placed, participants)
    status = await _check_one_end(oms, placed, participants)
    wins = applied < 2 and (first == "cancel" or point == "before the pivot, reserved")
    assert (isinstance(outcome, Placed), status is Status.CANCELED) == (wins, wins)


async def test_everything_at_once_has_one_end(pair: Pair) -> None:
    """Replies, their repetitions, a timeout and cancels, all at the same time in both instances, lead to one end."""
    for service in (pair.one, pair.other):
        service.read_replies()
    for turn in range(ROUNDS):
        participants = Participants()
        placed = await pair.one.place()
        await _answer(pair.one, placed, participants)
        charged = participants.answer((await commands(pair.one, placed.saga_id))[-1])
        await pair.one.run_out()
        racers: list[Coroutine[Any, Any, Any]] = [
            pair.one.replies(charged),
            pair.other.replies(charged),
            pair.one.timeouts.sweep(),
            pair.other.timeouts.sweep(),
            pair.other.orders.cancel(placed.order_id),
        ]
        outcomes = await _race(racers, turn)
        assert all(not isinstance(one, Exception) for one in outcomes[:4])
        await _finish(pair, placed, participants)
        status = await _check_one_end(pair.one, placed, participants)
        assert (status is Status.CANCELED) == isinstance(outcomes[4], Placed)


async def test_a_move_from_a_row_that_was_moved_since_writes_nothing(oms: OrderService) -> None:
    """A move from a stale read gets an error, and leaves no row, history or message behind."""
    placed = await oms.place()
    async with oms.database.transaction() as connection:
        read = await store.hold_saga(connection, placed.saga_id)
    assert read is not None
    await oms.answer("inventory.reserved")
    before = [await oms.verdicts(), await oms.messages()]
    with pytest.raises(store.ConcurrentUpdate):
        async with oms.database.transaction() as connection:
            await Transitions(oms.database, Outbox(oms.database)).move(connection, read, Input.CANCEL)
    assert [await oms.verdicts(), await oms.messages()] == before
    assert (await oms.orders.saga(placed.saga_id)).state == "charging"


async def _race(racers: list[Coroutine[Any, Any, Any]], turn: int) -> list[Any]:
    """Run all at the same time, a different one first each turn; return the outcomes in the order given."""
    gate = asyncio.Event()

    async def run(racer: Coroutine[Any, Any, Any]) -> Any:
        await gate.wait()
        return await racer

    shift = turn % len(racers)
    order = [*range(shift, len(racers)), *range(shift)]
    tasks = {number: asyncio.create_task(run(racers[number])) for number in order}
    gate.set()
    await asyncio.wait(tasks.values(), timeout=300)
    outcomes = [tasks[number].exception() or tasks[number].result() for number in range(len(racers))]
    assert all(not isinstance(one, Exception) or isinstance(one, Conflict) for one in outcomes), outcomes
    return outcomes


async def _answer(oms: OrderService, placed: Placed, participants: Participants) -> Message:
    answer = participants.answer((await commands(oms, placed.saga_id))[-1])
    await oms.replies(answer)
    return answer


async def _finish(pair: Pair, placed: Placed, participants: Participants) -> None:
    """Answer the commands that remain, at both instances in turn."""
    services = [pair.one, pair.other] * 4
    while (await pair.one.orders.saga(placed.saga_id)).state not in ENDS:
        await _answer(services.pop(), placed, participants)


async def _check_one_end(oms: OrderService, placed: Placed, participants: Participants) -> Status:
    """Check that a saga entered one end, once, said so once, and left nothing done that its end does not have.

    Its log has every move on the way there, each from where the one before led.
    """
    saga = await oms.orders.saga(placed.saga_id)
    moves = [entry for entry in saga.history if entry.verdict == "applied"]
    log = [Moved(entry.sequence, entry.input, entry.state_from, entry.state) for entry in moves]
    assert check_moves(log, SagaState(saga.state)) == []
    entered = [entry.state for entry in saga.history if entry.state in ENDS and entry.state_from not in ENDS]
    assert entered == [saga.state]
    assert await said(oms, placed.saga_id) == ["order.created", "saga.started", *ENDINGS[saga.status]]
    kept = {"inventory.reserve", "payment.charge"} if saga.status is Status.COMPLETED else set()
    assert participants.holds(placed.saga_id) == kept
    return saga.status
