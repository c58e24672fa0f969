"""The failure ladder at its edges: what is cut short, what waits side by side, and what fails together."""

import asyncio

import pytest
from opentelemetry.trace import StatusCode

from services.contracts import Message, encode
from services.contracts.topics import SAGA_EVENTS
from services.messaging.errors import Fatal, Unavailable
from services.messaging.readiness import Readiness
from tests.support.eventually import eventually
from tests.support.ladder import GROUP, Handling, delivery
from tests.support.records import DeadLetterTopic, message, record
from tests.support.spans import attributes_of
from tracing.testing import RecordedSpans

PROCESS = "process saga.started"


async def test_what_is_cut_short_says_so(spans: RecordedSpans) -> None:
    """A delivery that is cancelled is marked as interrupted, and is neither a failure nor an effect."""
    begun = asyncio.Event()

    async def handle(_: Message) -> None:
        begun.set()
        await asyncio.Event().wait()

    delivering = asyncio.create_task(delivery(handle, DeadLetterTopic()).deliver(record()))
    await begun.wait()
    delivering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivering
    span = spans.one(PROCESS)
    assert attributes_of(span)["sagatrace.interrupted"] is True
    assert attributes_of(span)["order.id"] == "o-1"
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes_of(span)
    assert not span.events


async def test_what_ends_is_not_called_interrupted(spans: RecordedSpans) -> None:
    """A delivery that comes to its end, well or not, has no mark."""
    await delivery(Handling([Fatal("no")]), DeadLetterTopic()).deliver(record())
    await delivery(Handling(), DeadLetterTopic()).deliver(record())
    assert all("sagatrace.interrupted" not in attributes_of(span) for span in spans.named(PROCESS))


async def test_those_that_wait_side_by_side_each_have_a_reason() -> None:
    """When one of two records of a partition gets through, the service is still unready for the other."""
    readiness = Readiness()
    back = {"o-1": asyncio.Event(), "o-2": asyncio.Event()}

    async def handle(handled: Message) -> None:
        if not back[handled.order_id].is_set():
            raise Unavailable(f"nothing for {handled.order_id}")

    ladder = delivery(handle, DeadLetterTopic(), readiness=readiness)
    records = [record(encode(message(order)), offset=offset) for offset, order in enumerate(back)]
    first, second = (asyncio.create_task(ladder.deliver(each)) for each in records)
    await eventually(lambda: len(readiness.reasons()) == 2)
    back["o-1"].set()
    await first
    assert readiness.reasons() == {f"{GROUP} {SAGA_EVENTS}/2@1": "nothing for o-2"}
    back["o-2"].set()
    await second
    assert readiness.reasons() == {}


AWAY = Unavailable("the database is away")


@pytest.mark.parametrize(
    ("failure", "dead_letters", "calls"),
    [
        (ExceptionGroup("both", [AWAY, ConnectionResetError()]), 0, 2),
        (ExceptionGroup("nested", [ExceptionGroup("inner", [AWAY])]), 0, 2),
        (ExceptionGroup("one is final", [AWAY, Fatal("no")]), 1, 1),
        (ExceptionGroup("one is a bug", [AWAY, ValueError("no")]), 0, 2),
    ],
)
async def test_errors_in_a_group_count_as_what_they_are(failure: ExceptionGroup, dead_letters: int, calls: int) -> None:
    """A group is waited for if all in it are away, final if one is, and tried again otherwise."""
    handling, kept = Handling([failure]), DeadLetterTopic()
    await delivery(handling, kept).deliver(record())
    assert (len(kept.kept), len(handling.calls)) == (dead_letters, calls)


async def test_a_group_that_is_away_is_tried_without_limit() -> None:
    """What a handler's tasks raise together because the database is away costs no attempt."""
    handling, kept = Handling([ExceptionGroup("both", [AWAY, AWAY])] * 20), DeadLetterTopic()
    await delivery(handling, kept).deliver(record())
    assert (len(kept.kept), len(handling.calls)) == (0, 21)
