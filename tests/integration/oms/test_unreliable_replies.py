"""Replies that come twice, too late and in the wrong order: each saga ends as it would have, and each is counted."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from services.contracts import Message
from services.oms.saga import ENDS
from services.oms.settings import TimeoutSettings
from tests.support.measured import Points, points
from tests.support.orders import OrderService, order_service
from tests.support.participants import Participants, again, commands, said

VERDICTS = "sagatrace.saga.replies"
PATIENT = TimeoutSettings(attempts_forward=100, attempts_back=100)


@dataclass(frozen=True)
class Story:
    """What a saga meets, and how that ends.

    Args:
        refuses: The commands that get a definite no.
        requests: What is asked of it, by the state in which it is.
        steps: How many replies it takes.
        events: What it says on its way.
    """

    events: list[str]
    steps: int
    refuses: frozenset[str] = frozenset()
    requests: dict[str, str] = field(default_factory=dict)


BEGIN = ["order.created", "saga.started"]
COMPLETED = [*BEGIN, "order.confirmed", "saga.completed"]
STORIES = {
    "completed": Story(COMPLETED, 2),
    "declined": Story([*BEGIN, "order.canceled", "saga.failed"], 3, frozenset({"payment.charge"})),
    "out of stock": Story([*BEGIN, "order.canceled", "saga.failed"], 1, frozenset({"inventory.reserve"})),
    # The charge that was in flight is refunded, and its own answer comes behind the cancel.
    "canceled": Story([*BEGIN, "order.canceled", "saga.canceled"], 3, requests={"charging": "cancel"}),
    "refunded": Story([*COMPLETED, "order.refunded", "saga.refunded"], 4, requests={"completed": "refund"}),
}

Deliver = Callable[[OrderService, Message, Participants], Awaitable[None]]


@pytest.fixture
async def patient(reader: InMemoryMetricReader, database_url: str) -> AsyncIterator[OrderService]:
    """An order service that asks again and never gives up, with its meters read and its replies read to the end."""
    del reader  # only its meters are asked for
    async with order_service(database_url, PATIENT) as service:
        service.read_replies()
        yield service


async def once(oms: OrderService, command: Message, participants: Participants) -> None:
    """Deliver a reply once, in time."""
    await oms.replies(participants.answer(command))


async def twice(oms: OrderService, command: Message, participants: Participants) -> None:
    """Deliver the same reply twice: the broker's redelivery."""
    answer = participants.answer(command)
    await oms.replies(answer)
    await oms.replies(answer)


async def answered_twice(oms: OrderService, command: Message, participants: Participants) -> None:
    """Deliver two replies to one command: the participant was asked twice."""
    answer = participants.answer(command)
    await oms.replies(answer)
    await oms.replies(again(answer))


async def late(oms: OrderService, command: Message, participants: Participants) -> None:
    """Deliver a reply after its time is up, before the reply to the next attempt."""
    second = await _time_out(oms, command)
    await oms.replies(participants.answer(command))
    await oms.replies(participants.answer(second))


async def reordered(oms: OrderService, command: Message, participants: Participants) -> None:
    """Deliver the reply to the second attempt before the one to the first."""
    second = await _time_out(oms, command)
    first = participants.answer(command)
    await oms.replies(participants.answer(second))
    await oms.replies(first)


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize(
    ("deliver", "besides"),
    [
        (once, {}),
        (twice, {"duplicate": 1}),
        (answered_twice, {"stale": 1}),
        (late, {"stale": 1}),
        (reordered, {"stale": 1}),
    ],
    ids=["once", "twice", "answered twice", "late", "reordered"],
)
async def test_a_saga_ends_as_if_its_replies_came_once(
    patient: OrderService, reader: InMemoryMetricReader, name: str, deliver: Deliver, besides: dict[str, int]
) -> None:
    """Each saga sends the same and ends the same, one reply per step is applied, and the others are counted by kind."""
    story = STORIES[name]
    participants = Participants(story.refuses)
    saga_id = await _live(patient, story, participants, deliver)
    assert await said(patient, saga_id) == story.events
    assert participants.holds(saga_id) == ({"inventory.reserve", "payment.charge"} if name == "completed" else set())
    expected = {"applied": story.steps} | {verdict: count * story.steps for verdict, count in besides.items()}
    assert points(reader, VERDICTS) == _labelled(expected)


@pytest.mark.parametrize("name", STORIES)
async def test_replies_that_come_again_after_the_end_change_nothing(
    patient: OrderService, reader: InMemoryMetricReader, name: str
) -> None:
    """The whole partition read again, backwards, is all duplicates; answers of a participant that forgot are stale."""
    story = STORIES[name]
    participants = Participants(story.refuses)
    delivered: list[Message] = []

    async def keep(oms: OrderService, command: Message, participants: Participants) -> None:
        delivered.append(participants.answer(command))
        await oms.replies(delivered[-1])

    saga_id = await _live(patient, story, participants, keep)
    for answer in reversed(delivered):
        await patient.replies(answer)
        await patient.replies(again(answer))
    assert await said(patient, saga_id) == story.events
    steps = story.steps
    assert points(reader, VERDICTS) == _labelled({"applied": steps, "duplicate": steps, "stale": steps})


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("seed", range(3))
async def test_any_mixture_of_all_that_ends_the_same(
    patient: OrderService, reader: InMemoryMetricReader, name: str, seed: int
) -> None:
    """Whatever is repeated, delayed and reordered, in whatever mixture, the saga says the same, and all is counted."""
    story, chance = STORIES[name], random.Random(seed)
    participants = Participants(story.refuses)
    delivered = 0

    async def mixed(oms: OrderService, command: Message, participants: Participants) -> None:
        nonlocal delivered
        for _ in range(chance.randrange(3)):
            command = await _time_out(oms, command)
        known = [participants.answer(one) for one in await commands(oms, command.saga_id)]
        post = [*chance.choices(known, k=chance.randrange(6)), known[-1]]
        post += [again(answer) for answer in chance.choices(known, k=chance.randrange(3))]
        chance.shuffle(post)
        for answer in post:
            await oms.replies(answer)
        delivered += len(post)

    saga_id = await _live(patient, story, participants, mixed)
    assert await said(patient, saga_id) == story.events
    counted = points(reader, VERDICTS)
    assert counted["applied",] == story.steps
    assert counted.keys() <= {("applied",), ("duplicate",), ("stale",)}
    assert sum(counted.values()) == delivered


async def _live(oms: OrderService, story: Story, participants: Participants, deliver: Deliver) -> str:
    """Take a saga to its end, with the requests of its story; return its id."""
    placed = await oms.place()
    requests = dict(story.requests)
    while True:
        saga = await oms.orders.saga(placed.saga_id)
        request = requests.pop(saga.state, None)
        if request == "cancel":
            # It does not know that the charge is being made.
            participants.answer((await commands(oms, placed.saga_id))[-1])
            await oms.orders.cancel(placed.order_id)
        elif request == "refund":
            await oms.orders.refund(placed.order_id)
        elif saga.state in ENDS:
            return placed.saga_id
        else:
            await deliver(oms, (await commands(oms, placed.saga_id))[-1], participants)


async def _time_out(oms: OrderService, command: Message) -> Message:
    """Let a command's time run out, and return the next attempt."""
    await oms.run_out()
    await oms.timeouts.sweep()
    second = (await commands(oms, command.saga_id))[-1]
    assert (second.event_type, second.event_id != command.event_id) == (command.event_type, True)
    return second


def _labelled(counts: dict[str, int]) -> Points:
    return {(verdict,): count for verdict, count in counts.items()}
