"""What a dead letter tells, and in which form."""

import struct

import pytest

from services.contracts import Undecodable
from services.messaging.dead_letters import DeadLetters
from services.messaging.errors import SendFailed
from tests.support.records import Header, Letter, Letters, record

SECRET = "4111 1111 1111 1111"


async def bury(error: BaseException, attempts: int = 6, headers: tuple[Header, ...] = ()) -> Letter:
    """Make a dead letter."""
    letters = Letters()
    await DeadLetters("billing", letters).add(record(b"{}", headers=headers), error, attempts)
    return letters.kept[0]


async def test_the_failure_is_told_as_text() -> None:
    """Each part of the story is a text header, and the letter goes to the group's own topic."""
    letter = await bury(Undecodable("no JSON"))
    assert letter.topic == "billing.dlq"
    assert letter["sagatrace-dlq-group"] == b"billing"
    assert letter["sagatrace-dlq-topic"] == b"oms.saga.events"
    assert letter["sagatrace-dlq-partition"] == b"2"
    assert letter["sagatrace-dlq-offset"] == b"7"
    assert letter["sagatrace-dlq-timestamp"] == b"1700000000000"
    assert letter["sagatrace-dlq-error-type"] == b"services.contracts.errors.Undecodable"
    assert letter["sagatrace-dlq-error-message"] == b"no JSON"
    assert letter["sagatrace-dlq-attempts"] == b"6"
    assert (letter["sagatrace-dlq-failed-at"] or b"").endswith(b"+00:00")


async def test_spring_reads_where_it_came_from() -> None:
    """Spring's headers hold its binary form: int32 and int64, big endian."""
    letter = await bury(Undecodable("no JSON"))
    assert letter["kafka_dlt-original-topic"] == b"oms.saga.events"
    assert letter["kafka_dlt-original-partition"] == struct.pack(">i", 2)
    assert letter["kafka_dlt-original-offset"] == struct.pack(">q", 7)
    assert letter["kafka_dlt-original-timestamp"] == struct.pack(">q", 1_700_000_000_000)
    assert letter["kafka_dlt-original-timestamp-type"] == b"CreateTime"
    assert letter["kafka_dlt-original-consumer-group"] == b"billing"


async def test_the_trace_context_moves_aside() -> None:
    """The record's own trace context is kept under another name, so that the send's is the only one."""
    headers = (("traceparent", b"00-1"), ("TraceState", b"a=b"), ("baggage", b"c=d"), ("x", None))
    letter = await bury(Undecodable("no JSON"), headers=headers)
    assert letter["sagatrace-dlq-original-traceparent"] == b"00-1"
    assert letter["sagatrace-dlq-original-tracestate"] == b"a=b"
    assert letter["baggage"] == b"c=d"
    assert letter["x"] is None
    assert "traceparent" not in dict(letter.headers)


async def test_a_second_failure_replaces_the_story_and_keeps_the_first_origin() -> None:
    """A letter that fails again tells of the new failure once, and of the first trace."""
    first = await bury(Undecodable("first"), headers=(("traceparent", b"00-1"),))
    again = await bury(SendFailed("second"), headers=(*first.headers, ("traceparent", b"00-2")))
    assert again["sagatrace-dlq-error-message"] == b"second"
    assert again["sagatrace-dlq-original-traceparent"] == b"00-1"
    assert again["kafka_dlt-original-topic"] == b"oms.saga.events"
    assert "traceparent" not in dict(again.headers)


@pytest.mark.parametrize("error", [ValueError(SECRET), KeyError(SECRET), ExceptionGroup(SECRET, [ValueError(SECRET)])])
async def test_the_text_of_a_strangers_error_is_not_repeated(error: Exception) -> None:
    """Somebody else's exception may quote the payload, so only its type and its stack are told."""
    with pytest.raises(type(error)) as caught:
        raise error
    letter = await bury(caught.value)
    assert letter["sagatrace-dlq-error-message"] == b""
    assert type(error).__name__.encode() in (letter["sagatrace-dlq-error-type"] or b"")
    assert b"test_dead_letters.py" in (letter["sagatrace-dlq-stacktrace"] or b"")
    assert SECRET.encode() not in b"".join(value or b"" for _, value in letter.headers)


async def test_a_long_stack_keeps_its_end() -> None:
    """Of a stack that is too long the innermost frames are kept: they tell where it happened."""

    def dive(depth: int) -> None:
        if depth:
            dive(depth - 1)
        raise ValueError

    with pytest.raises(ValueError) as caught:  # noqa: PT011  its text does not matter
        dive(200)
    letter = await bury(caught.value)
    assert len(letter["sagatrace-dlq-stacktrace"] or b"") <= 4096
    assert (letter["sagatrace-dlq-stacktrace"] or b"").rstrip().endswith(b"raise ValueError")
