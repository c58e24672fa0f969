"""A record that the client can't read holds its partition until an operator lets the group pass it by."""

from functools import partial

from services.contracts import Message, new_id
from services.messaging import Consumer, Producer
from services.messaging.dead_letters import Attribution, DeadLetterLedger, DeadLetterOperator, Place
from services.messaging.readiness import Readiness
from services.messaging.storage.database import Database
from tests.integration.messaging.conftest import QUICK, Committed
from tests.support.broker import Broker
from tests.support.eventually import eventually
from tests.support.records import message
from tests.support.unreadable import send_unreadable


async def test_a_partition_goes_on_behind_a_skipped_record(
    broker: Broker, producer: Producer, topic: str, database: Database, committed: Committed
) -> None:
    """After the skip, which is recorded, the records behind are handled and committed; another record stays held."""
    handled: list[int] = []

    async def handle(got: Message) -> None:
        handled.append(got.sequence)

    readiness = Readiness()
    operator = DeadLetterOperator(database, topic)
    by = Attribution("jane", new_id(), "the header's name is not UTF-8")
    ledger = DeadLetterLedger(database, topic)
    async with Consumer(
        broker, topic, [topic], handle, settings=QUICK, producer=producer, readiness=readiness, ledger=ledger
    ):
        await producer.publish_event(topic, "o-1", message("o-1", 0))
        bad = [await send_unreadable(broker, topic, b"o-1") for _ in range(2)]
        last = await producer.publish_event(topic, "o-1", message("o-1", 1))
        for at in bad:
            held = f"{topic}/{at.partition} is held: offset {at.offset} can't be read"
            await eventually(partial(_says, readiness, held), timeout_s=20)
            assert handled == [0]
            await operator.skip(Place(topic, at.partition, at.offset), by)
        await eventually(lambda: handled == [0, 1], timeout_s=20)
        await eventually(lambda: readiness.reasons() == {}, timeout_s=20)
    assert (await committed(topic, topic))[last.partition] == last.offset + 1
    told = [(row["action"], row["offset"], row["actor"], row["reason"]) for row in await operator.actions()]
    assert told == [("skip", at.offset, "jane", "the header's name is not UTF-8") for at in bad]


def _says(readiness: Readiness, reason: str) -> bool:
    return reason in readiness.reasons().values()
