"""The failure ladder: what becomes of one record."""

import asyncio

import pytest
from opentelemetry.trace import StatusCode

from services.contracts import Message
from services.contracts.topics import INVENTORY_COMMANDS, ORDER_EVENTS, SAGA_EVENTS, SAGA_REPLIES
from services.messaging.errors import Fatal, MessageTooLarge, SendFailed, Transient, Unavailable
from services.messaging.readiness import Readiness
from tests.support.eventually import eventually
from tests.support.ladder import GROUP, Handling, delivery, events_of
from tests.support.records import DeadLetterTopic, message, record
from tests.support.spans import attributes_of
from tracing.testing import RecordedSpans

PROCESS = "process saga.started"
UNKNOWN = b'{"event_type": "saga.paused", "saga_id": "s", "order_id": "o", "sequence": 1}'
NEWER = (
    b'{"event_type": "saga.started", "schema_version": 2, "saga_id": "s", "order_id": "o", "sequence": 1, "payload": 7}'
)
POISON = {
    "no text": b"\xff\xfe\x00",
    "no JSON": b"{",
    "no object": b"[1]",
    "nothing": b"",
    "no envelope": b'{"event_type": "saga.started"}',
    "a bad field": b'{"event_type": "saga.started", "saga_id": "s", "order_id": "o", "sequence": -1}',
    "a deep one": b"[" * 100_000,
}


async def test_a_message_is_handled_inside_its_process_span(spans: RecordedSpans) -> None:
    """A handled message is one process span with the message's ids and type, and no error."""
    handling, dead_letters = Handling(), DeadLetterTopic()
    await delivery(handling, dead_letters).deliver(record())
    (message,) = handling.handled
    span = spans.one(PROCESS)
    assert span.status.status_code is StatusCode.UNSET
    expected = {
        "saga.id": "saga-of-o-1",
        "order.id": "o-1",
        "messaging.message.conversation_id": "saga-of-o-1",
        "messaging.message.id": str(message.event_id),
        "sagatrace.message.type": "saga.started",
        "messaging.consumer.group.name": GROUP,
    }
    assert {name: attributes_of(span).get(name) for name in expected} == expected
    assert not dead_letters.kept


async def test_retries_are_events_inside_one_span(spans: RecordedSpans) -> None:
    """A handler that fails twice and then works is one span without an error, and two events tell of the retries."""
    handling, dead_letters = Handling([ValueError("no"), Transient("busy")]), DeadLetterTopic()
    await delivery(handling, dead_letters).deliver(record())
    span = spans.one(PROCESS)
    retries = [(told["retry.attempt"], told["error.type"]) for name, told in events_of(span) if name == "retry"]
    assert retries == [(1, "ValueError"), (2, "Transient")]
    assert span.status.status_code is StatusCode.UNSET
    assert (len(handling.calls), len(handling.handled), len(dead_letters.kept)) == (3, 1, 0)


async def test_what_keeps_failing_becomes_a_dead_letter(spans: RecordedSpans) -> None:
    """After the last retry the record is a dead letter, and its process span says that it failed."""
    handling, dead_letters = Handling([ValueError("zebra")] * 3), DeadLetterTopic()
    await delivery(handling, dead_letters).deliver(record())
    span = spans.one(PROCESS)
    assert span.status.status_code is StatusCode.ERROR
    assert attributes_of(span)["error.type"] == "ValueError"
    assert "zebra" not in span.to_json()
    assert dead_letters.kept[0]["sagatrace-dlq-attempts"] == b"3"
    assert len(handling.calls) == 3


@pytest.mark.parametrize("value", POISON.values(), ids=POISON.keys())
@pytest.mark.parametrize("topic", [SAGA_EVENTS, SAGA_REPLIES])
async def test_poison_becomes_a_dead_letter_at_once(value: bytes, topic: str) -> None:
    """What is no message of the contract never reaches the handler, and is kept byte for byte."""
    handling, dead_letters = Handling(), DeadLetterTopic()
    await delivery(handling, dead_letters).deliver(record(value, topic=topic))
    assert [dead_letter.value for dead_letter in dead_letters.kept] == [value]
    assert dead_letters.kept[0]["sagatrace-dlq-attempts"] == b"0"
    assert not handling.calls


@pytest.mark.parametrize("error", [Fatal("never"), MessageTooLarge("too large")])
async def test_a_fatal_failure_is_not_tried_again(error: Exception) -> None:
    """A handler that says that a message can't be processed is believed at once."""
    handling, dead_letters = Handling([error]), DeadLetterTopic()
    await delivery(handling, dead_letters).deliver(record())
    assert (len(handling.calls), len(dead_letters.kept)) == (1, 1)


@pytest.mark.parametrize("topic", [SAGA_EVENTS, ORDER_EVENTS])
async def test_an_unknown_event_is_skipped(topic: str, spans: RecordedSpans) -> None:
    """A newer peer's event is none of ours: no dead letter, no error, and whoever wants it gets the record."""
    dead_letters, seen = DeadLetterTopic(), []

    async def keep(unknown: object) -> None:
        seen.append(unknown)

    unknown = record(UNKNOWN, topic=topic)
    await delivery(Handling(), dead_letters).deliver(unknown)
    await delivery(Handling(), dead_letters, on_unknown=keep).deliver(unknown)
    assert seen == [unknown]
    assert not dead_letters.kept
    assert {span.status.status_code for span in spans.named(f"process {topic}")} == {StatusCode.UNSET}


@pytest.mark.parametrize("topic", [INVENTORY_COMMANDS, SAGA_REPLIES])
async def test_an_unknown_command_or_reply_is_a_dead_letter(topic: str) -> None:
    """Somebody waits for the answer to a command, so one that is not known is a failure."""
    dead_letters = DeadLetterTopic()
    await delivery(Handling(), dead_letters).deliver(record(UNKNOWN, topic=topic))
    assert dead_letters.kept[0]["sagatrace-dlq-error-type"] == b"services.contracts.errors.UnknownType"


@pytest.mark.parametrize("topic", [SAGA_EVENTS, ORDER_EVENTS])
async def test_an_unknown_version_of_an_event_is_skipped(topic: str) -> None:
    """A newer version of a type is for programs that know it, as a newer type is."""
    handling, dead_letters = Handling(), DeadLetterTopic()
    await delivery(handling, dead_letters).deliver(record(NEWER, topic=topic))
    assert (handling.calls, dead_letters.kept) == ([], [])


@pytest.mark.parametrize("topic", [INVENTORY_COMMANDS, SAGA_REPLIES])
async def test_an_unknown_version_of_a_command_or_reply_says_which_is_wanted(topic: str) -> None:
    """Somebody waits for it, so it is a dead letter, which says what version it has and which ones are read here."""
    dead_letters = DeadLetterTopic()
    await delivery(Handling(), dead_letters).deliver(record(NEWER, topic=topic))
    (kept,) = dead_letters.kept
    assert kept["sagatrace-dlq-error-type"] == b"services.contracts.errors.UnknownVersion"
    assert kept["sagatrace-dlq-error-message"] == b"saga.started has schema_version 2, and this program reads 1"
    assert kept.value == NEWER


@pytest.mark.parametrize("away", [Unavailable("the database is away"), SendFailed("no broker"), ConnectionError()])
async def test_what_is_away_is_waited_for(away: Exception, spans: RecordedSpans) -> None:
    """While the database or the broker is away a record is tried without limit, and is never a dead letter."""
    handling, dead_letters = Handling([away] * 30), DeadLetterTopic()
    await delivery(handling, dead_letters, retries=0).deliver(record())
    assert (len(handling.calls), len(handling.handled), len(dead_letters.kept)) == (31, 1, 0)
    span = spans.one(PROCESS)
    assert [name for name, _ in events_of(span)] == ["unavailable"]
    assert span.status.status_code is StatusCode.UNSET


async def test_a_service_is_unready_while_it_waits() -> None:
    """Readiness says which partition waits and why, and forgets it when the record is through."""
    readiness, back = Readiness(), asyncio.Event()

    async def handle(_: Message) -> None:
        if not back.is_set():
            raise Unavailable("the database is away")

    delivering = asyncio.create_task(delivery(handle, DeadLetterTopic(), readiness=readiness).deliver(record()))
    reasons = await eventually(readiness.reasons)
    assert list(reasons.values()) == ["the database is away"]
    assert f"{GROUP} {SAGA_EVENTS}/2" in next(iter(reasons))
    back.set()
    await asyncio.wait_for(delivering, 50)
    assert not readiness.reasons()


async def test_a_partition_that_is_taken_away_is_no_reason_any_more() -> None:
    """A wait that is cancelled, because the partition goes elsewhere, leaves no reason behind."""
    readiness = Readiness()
    handling = Handling([Unavailable("away")] * 100_000)
    delivering = asyncio.create_task(delivery(handling, DeadLetterTopic(), readiness=readiness).deliver(record()))
    await eventually(readiness.reasons)
    delivering.cancel()
    await asyncio.wait([delivering])
    assert delivering.cancelled()
    assert not readiness.reasons()


async def test_a_record_stays_until_its_dead_letter_is_written() -> None:
    """A dead letter that can't be written is tried without limit; only then is the record done with."""
    readiness = Readiness()
    dead_letters = DeadLetterTopic([SendFailed("no broker")] * 20 + [MessageTooLarge("no room"), RuntimeError("a bug")])
    delivering = asyncio.create_task(delivery(Handling(), dead_letters, readiness=readiness).deliver(record(b"{")))
    await eventually(readiness.reasons)
    assert not delivering.done()
    await asyncio.wait_for(delivering, 50)
    assert len(dead_letters.kept) == 1
    assert not readiness.reasons()


async def test_a_handler_has_a_time_limit() -> None:
    """A handler that never ends is a failure like any other."""
    dead_letters = DeadLetterTopic()

    async def hang(_: Message) -> None:
        await asyncio.Event().wait()

    await delivery(hang, dead_letters, handler_timeout_s=0.01, retries=1).deliver(record())
    assert dead_letters.kept[0]["sagatrace-dlq-error-type"] == b"builtins.TimeoutError"
    assert dead_letters.kept[0]["sagatrace-dlq-attempts"] == b"2"


async def test_a_cancellation_that_nobody_asked_for_is_a_failure() -> None:
    """A handler that waited for something cancelled fails; it does not end its partition's worker."""
    handling, dead_letters = Handling([asyncio.CancelledError()]), DeadLetterTopic()
    await delivery(handling, dead_letters).deliver(record())
    assert len(handling.handled) == 1
    assert not dead_letters.kept


async def test_a_handler_is_left_when_the_consumer_stops() -> None:
    """A delivery that is cancelled ends at once, undone, and writes no dead letter."""
    dead_letters, begun = DeadLetterTopic(), asyncio.Event()

    async def hang(_: Message) -> None:
        begun.set()
        await asyncio.Event().wait()

    delivering = asyncio.create_task(delivery(hang, dead_letters).deliver(record()))
    await asyncio.wait_for(begun.wait(), 50)
    delivering.cancel()
    await asyncio.wait([delivering], timeout=50)
    assert delivering.cancelled()
    assert not dead_letters.kept


async def test_what_happens_is_counted(spans: RecordedSpans, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures, retries, dead letters and skipped records each have a counter, by topic and error."""
    monkeypatch.setattr("opentelemetry.metrics.get_meter", spans.meter_provider.get_meter)
    dead_letters = DeadLetterTopic()
    both = delivery(Handling([ValueError()] * 3), dead_letters)
    await both.deliver(record())
    await both.deliver(record(UNKNOWN))
    counted = {name: sum(point.value for point in spans.metric_points(name)) for name in COUNTERS}
    assert counted == {COUNTERS[0]: 3, COUNTERS[1]: 2, COUNTERS[2]: 1, COUNTERS[3]: 1}


async def test_an_own_decoder_reads_the_record() -> None:
    """A consumer may be told how to read a record; what it trips over is a dead letter, whatever it raises."""
    handling, dead_letters = Handling(), DeadLetterTopic()

    def trip(_: object) -> Message:
        raise IndexError

    await delivery(handling, dead_letters, decode=lambda _: message("read-otherwise")).deliver(record(b"\x00"))
    await delivery(handling, dead_letters, decode=trip).deliver(record(b"\x01"))
    assert [handled.order_id for handled in handling.handled] == ["read-otherwise"]
    assert [(dead_letter.value, dead_letter["sagatrace-dlq-error-type"]) for dead_letter in dead_letters.kept] == [
        (b"\x01", b"builtins.IndexError"),
    ]


COUNTERS = (
    "sagatrace.consumer.failures",
    "sagatrace.consumer.retries",
    "sagatrace.consumer.dead_letters",
    "sagatrace.consumer.unknown",
)
