"""Dead letters park their key, on a real database: nothing of the key overtakes them, and a re-drive drains them."""

import asyncio
import random

import pytest
from sqlalchemy import select

from services.contracts import Message, encode, new_id
from services.contracts.commands import ChargePayment, Command, RefundPayment, Step
from services.contracts.topics import PAYMENT_COMMANDS
from services.messaging.breaker.breaker import Breaker, BreakerState, TripInMemory
from services.messaging.breaker.tally import Cooldown, Limits
from services.messaging.dead_letters.answers import dead_letter_answers
from services.messaging.dead_letters.headers import DeadLetterState, Place
from services.messaging.dead_letters.operator import Attribution
from services.messaging.dead_letters.redrive import SkipReason
from services.messaging.outbox.outbox import Outbox
from services.messaging.semconv import SAGATRACE_MESSAGE_TYPE
from services.messaging.storage.database import Database
from services.messaging.storage.tables import OUTBOX
from tests.support.parking import Group, Refusing
from tests.support.records import message, record
from tests.support.spans import attributes_of
from tracing.testing import RecordedSpans

POISON = b"{"


def refund(order: str) -> RefundPayment:
    """A compensation."""
    payload = Command(command_id=new_id(), step=Step.CHARGE)
    return RefundPayment(saga_id=f"saga-of-{order}", order_id=order, sequence=9, payload=payload)


@pytest.fixture
def group(database: Database) -> Group:
    """One member of a group that has no retries."""
    return Group(database, retries=0)


async def test_what_follows_a_dead_letter_waits_behind_it(group: Group) -> None:
    """Later messages of a key with a dead letter follow it without an attempt; other keys go on."""
    group.handler.refused = {1}
    await group.receive(group.new("a", 1), group.new("a", 2), group.new("b", 3), group.new("a", 4))
    assert group.handler.handled == [("b", 3)]
    assert [(dead_letter.state, dead_letter.attempts) for dead_letter in group.topic] == [
        (DeadLetterState.FAILED, 1),
        (DeadLetterState.BEHIND, 0),
        (DeadLetterState.BEHIND, 0),
    ]
    assert {dead_letter.behind for dead_letter in group.topic[1:]} == {group.topic[0].origin}


async def test_a_redrive_drains_a_key_in_order_and_frees_it(group: Group) -> None:
    """All dead letters of a key are handled in the order in which they came, and then it is free."""
    group.handler.refused = {1}
    await group.receive(*(group.new("a", sequence) for sequence in (1, 2, 3)))
    group.handler.refused = set()
    assert await group.redrive() == 3
    await group.receive_retries()
    await group.receive(group.new("a", 4))
    assert group.handler.handled == [("a", 1), ("a", 2), ("a", 3), ("a", 4)]
    assert {row.outcome for row in (await group.operator.rows()).values()} == {"processed"}


async def test_a_redrive_that_fails_keeps_the_order(group: Group) -> None:
    """If the first one fails again, those behind it wait again, and the next re-drive has them in order."""
    group.handler.refused = {1}
    await group.receive(*(group.new("a", sequence) for sequence in (1, 2, 3)))
    await group.redrive()
    await group.receive_retries()
    assert group.handler.handled == []
    group.handler.refused = set()
    assert await group.redrive() == 3
    await group.receive_retries()
    assert group.handler.handled == [("a", 1), ("a", 2), ("a", 3)]


async def test_what_comes_while_a_key_is_drained_does_not_overtake(group: Group) -> None:
    """A message that comes between the re-drive and its processing waits behind, and is drained by the next one."""
    group.handler.refused = {1}
    await group.receive(group.new("a", 1))
    group.handler.refused = set()
    await group.redrive()
    await group.receive(group.new("a", 2))
    assert group.handler.handled == []
    await group.receive_retries()
    await group.receive(group.new("a", 3))
    assert group.handler.handled == [("a", 1)]
    assert await group.redrive() == 2
    await group.receive_retries()
    assert group.handler.handled == [("a", 1), ("a", 2), ("a", 3)]


async def test_a_second_run_adds_nothing(group: Group) -> None:
    """What is under way, or processed, is not sent again; a record that comes twice all the same is handled once."""
    group.handler.refused = {1}
    await group.receive(group.new("a", 1))
    group.handler.refused = set()
    await group.redrive()
    assert [reason for _, reason in (await group.planned()).left] == [SkipReason.UNDER_WAY]
    assert await group.redrive() == 0
    group.retries.kept *= 2
    await group.receive_retries()
    assert [reason for _, reason in (await group.planned()).left] == [SkipReason.CLOSED]
    assert await group.redrive() == 0
    assert group.handler.handled == [("a", 1)]
    assert len(await group.operator.actions()) == 1


async def test_two_runs_at_once_send_a_letter_once(group: Group) -> None:
    """Of two operators with the same plan one sends a dead letter, and a send that failed may be tried again."""
    group.handler.refused = {1}
    await group.receive(group.new("a", 1))
    (dead_letter,) = group.topic
    begun = await asyncio.gather(
        *(group.operator.begin_redrive(dead_letter, Attribution("x", new_id())) for _ in range(4))
    )
    assert sorted(begun) == [False, False, False, True]
    await group.operator.take_back(dead_letter, Attribution("x", new_id()))
    assert await group.operator.begin_redrive(dead_letter, Attribution("x", new_id()))
    assert [action["action"] for action in await group.operator.actions()] == ["redrive", "taken back", "redrive"]


async def test_a_letter_that_failed_again_is_not_sent_by_the_run_that_read_it_before(group: Group) -> None:
    """A run that read a dead letter before another run's re-drive of it failed sends it no more, not even by force."""
    group.handler.refused = {1}
    await group.receive(group.new("a", 1))
    (stale,) = group.topic
    await group.redrive()
    await group.receive_retries()
    newest = group.topic[-1]
    assert newest.redrive_count == 1
    for force in (False, True):
        assert not await group.operator.begin_redrive(stale, Attribution("x", new_id()), force=force)
    assert await group.operator.begin_redrive(newest, Attribution("x", new_id()))
    assert await group.operator.begin_redrive(newest, Attribution("x", new_id()), force=True)


async def test_a_record_that_keeps_failing_is_parked(database: Database) -> None:
    """After its last re-drive a record is parked: it is not sent again unless forced, nor is what waits behind it."""
    group = Group(database, retries=0, redrives=2)
    group.handler.refused = {1}
    await group.receive(group.new("a", 1), group.new("a", 2))
    for _ in range(2):
        await group.redrive()
        await group.receive_retries()
    assert [reason for _, reason in (await group.planned()).left] == [SkipReason.PARKED, SkipReason.BEHIND]
    group.handler.refused = set()
    assert await group.redrive(force=True) == 2
    await group.receive_retries()
    assert group.handler.handled == [("a", 1), ("a", 2)]


async def test_only_the_oldest_is_redriven_past_no_one(group: Group) -> None:
    """A dead letter that was chosen without the one before it stays: sent, it would only wait behind it again."""
    group.handler.refused = {1}
    await group.receive(group.new("a", 1), group.new("a", 2), group.new("b", 1))
    second = group.topic[1].origin
    planned = await group.planned(chosen=lambda dead_letter: dead_letter.origin == second)
    assert (planned.send, [reason for _, reason in planned.left]) == ((), [SkipReason.BEHIND])


async def test_a_discarded_letter_frees_its_key(group: Group) -> None:
    """What an operator discards, with a reason, is closed; who, when and why is kept; twice changes nothing more."""
    group.handler.refused = {1}
    await group.receive(group.new("a", 1), group.new("a", 2))
    dead_letter = group.topic[0]
    with pytest.raises(ValueError, match="reason"):
        await group.operator.discard(dead_letter, Attribution("ada", new_id()))
    assert await group.operator.discard(dead_letter, Attribution("ada", new_id(), "a test order"))
    assert not await group.operator.discard(dead_letter, Attribution("ada", new_id(), "a test order"))
    assert await group.redrive() == 1
    await group.receive_retries()
    await group.receive(group.new("a", 3))
    assert group.handler.handled == [("a", 2), ("a", 3)]
    actions = [(action["action"], action["actor"], action["reason"]) for action in await group.operator.actions()]
    assert actions == [("discard", "ada", "a test order"), ("redrive", "operator", None)]


async def test_another_member_and_a_restart_know_what_is_parked(database: Database, group: Group) -> None:
    """A key is parked in the database: a member that was assigned the partition, or is new, knows it at once."""
    other = Group(database, retries=0)
    await other.receive(other.new("b", 1))
    group.handler.refused = {1}
    await group.receive(group.new("a", 1))
    other.ledger.forget()
    other_record = record(encode(message("a", 2)), offset=50, key=b"a")
    await other.receive(other_record)
    restarted = Group(database, retries=0)
    await restarted.receive(record(encode(message("a", 3)), offset=51, key=b"a"))
    assert (other.handler.handled, restarted.handler.handled) == ([("b", 1)], [])


async def test_a_dead_letter_that_comes_again_stays_one(group: Group) -> None:
    """A record whose row was written and whose offset was not committed is not handled and not written again."""
    group.handler.refused = {1}
    first = group.new("a", 1)
    await group.receive(first)
    group.handler.refused = set()
    with RecordedSpans(name_attribute=SAGATRACE_MESSAGE_TYPE) as spans:
        await group.receive(first)
    assert (group.handler.handled, len(group.topic)) == ([], 1)
    told = attributes_of(spans.one("process saga.started"))
    assert (told["sagatrace.duplicate"], told["order.id"], told["saga.id"]) == (True, "a", "saga-of-a")


async def test_a_crash_before_the_row_neither_loses_nor_reorders(
    database: Database,
    group: Group,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dead letter without a row is one too many at most: the record comes again, before anything else of its key."""
    first, second = group.new("a", 1), group.new("a", 2)
    group.handler.refused = {1}

    async def crash(_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(group.ledger, "bury", crash)
    with pytest.raises(asyncio.CancelledError):
        await group.receive(first)
    restarted = Group(database, retries=0)
    await restarted.receive(first, second)
    assert restarted.handler.handled == [("a", 1), ("a", 2)]
    restarted.dead_letters.kept = group.dead_letters.kept
    assert await restarted.redrive() == 1
    await restarted.receive_retries()
    assert restarted.handler.handled == [("a", 1), ("a", 2)]


async def test_compensations_pass_a_parked_key(group: Group) -> None:
    """A refund of a parked order is handled at once, and frees nothing."""
    group.handler.refused = {1}
    await group.receive(group.new("a", 1), group.new("a", 9, value=encode(refund("a")), topic=PAYMENT_COMMANDS))
    await group.receive(group.new("a", 2))
    assert group.handler.handled == [("a", 9)]
    assert [dead_letter.state for dead_letter in group.topic] == [DeadLetterState.FAILED, DeadLetterState.BEHIND]


async def test_what_waits_behind_is_no_failure_of_its_own(database: Database) -> None:
    """A busy key with one dead letter does not trip the breaker: what follows it was never tried."""
    tripping = Breaker("billing", Limits(3, 10, 0.3), Cooldown(60, 60, 1), TripInMemory())
    group = Group(database, retries=0, breaker=tripping)
    group.handler.refused = {1}
    await group.receive(*(group.new("a", sequence) for sequence in range(1, 21)))
    assert tripping.state is BreakerState.CLOSED


async def test_a_record_without_a_key_parks_nothing(group: Group) -> None:
    """Records without a key have no order: one that is a dead letter holds no other up, and can be re-driven."""
    await group.receive(record(POISON, key=None, offset=1), record(key=None, offset=2))
    assert len(group.handler.handled) == 1
    assert await group.redrive() == 1


async def test_poison_parks_its_key_too(group: Group) -> None:
    """What can't be read has a key all the same; a key of any size and bytes is parked."""
    key = b"\xff\x00" * 20_000
    await group.receive(record(POISON, key=key, offset=1), record(key=key, offset=2), record(key=b"b", offset=3))
    assert [dead_letter.state for dead_letter in group.topic] == [DeadLetterState.FAILED, DeadLetterState.BEHIND]
    assert len(group.handler.handled) == 1


@pytest.mark.parametrize("again", [False, True])
async def test_a_dead_lettered_command_is_answered_once(database: Database, again: bool) -> None:  # noqa: FBT001
    """Whoever waits for a command's answer gets one, in the transaction of its row, and one only."""
    group = Group(database, retries=0, answer=dead_letter_answers(Outbox(database)))
    command = ChargePayment.model_validate(
        {
            "saga_id": "saga-of-a",
            "order_id": "a",
            "sequence": 1,
            "payload": {
                "command_id": new_id(),
                "step": Step.CHARGE,
                "total": {"amount": 1, "currency": "EUR"},
                "payment_method": "card",
            },
        },
    )
    group.handler.refused = {1}
    await group.receive(group.new("a", 1, value=encode(command), topic=PAYMENT_COMMANDS))
    if again:
        await group.redrive()
        await group.receive_retries()
        assert len(group.topic) == 2
    async with database.reading() as connection:
        rows = (await connection.execute(select(OUTBOX))).all()
    assert [(row.event_type, row.topic, row.key) for row in rows] == [
        ("command.dead_lettered", "oms.saga.replies", "a"),
    ]
    assert b'"reason":"dead_lettered"' in rows[0].value


async def test_a_redriven_record_is_read_as_what_it_was(database: Database) -> None:
    """Whoever reads a re-driven record sees the topic and the place that it came from at first."""
    places: list[Place] = []

    def decode(one: object) -> Message:
        places.append(Place(one.topic, one.partition, one.offset))  # type: ignore[attr-defined]
        if len(places) == 1:
            raise ValueError
        return message("a", 1)

    group = Group(database, retries=0, decode=decode)
    await group.receive(group.new("a", 1))
    await group.redrive()
    await group.receive_retries()
    assert places == [Place("oms.saga.events", 2, 1)] * 2
    assert group.handler.handled == [("a", 1)]


async def test_an_unknown_event_is_skipped_after_a_redrive_too(group: Group) -> None:
    """The rule for unknown types is that of the topic that a record came from, not of the retry topic."""
    unknown = b'{"event_type": "saga.paused", "saga_id": "s", "order_id": "a", "sequence": 2}'
    group.handler.refused = {1}
    await group.receive(group.new("a", 1), group.new("a", 2, value=unknown))
    group.handler.refused = set()
    assert await group.redrive() == 2
    await group.receive_retries()
    assert len(group.topic) == 2
    assert {row.outcome for row in (await group.operator.rows()).values()} == {"processed"}


@pytest.mark.parametrize("seed", range(6))
async def test_order_per_key_survives_any_history(database: Database, seed: int) -> None:
    """Whatever fails, is re-driven, comes twice or restarts: each message has one effect, in the order of its key.

    One member reads the topic and another the retry topic, as the group may have it.
    """
    source = random.Random(seed)
    handler = Refusing(database)
    of_topic = Group(database, retries=0, handler=handler)
    of_retries = Group(database, retries=0, handler=handler, beside=of_topic)
    sent: dict[str, list[int]] = {order: [] for order in "abc"}
    last = None
    for number in range(40):
        handler.refused = {refused for refused in range(40) if source.randrange(4) == 0}
        match source.randrange(8):
            case 0:
                await of_topic.redrive()
            case 1 | 2:
                await of_retries.receive_retries()
            case 3 if last is not None:
                await of_topic.receive(last)
            case 4:
                of_topic.ledger.forget()
            case _:
                order = source.choice("abc")
                sent[order].append(number)
                last = of_topic.new(order, number)
                await of_topic.receive(last)
    handler.refused = set()
    for _ in range(3):
        await of_topic.redrive()
        await of_retries.receive_retries()
    handled = {order: [sequence for of, sequence in handler.handled if of == order] for order in sent}
    assert handled == sent
