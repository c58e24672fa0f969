"""What a dead letter tells, and in which form."""

import struct
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from services.contracts import Undecodable
from services.messaging.dead_letters.topic import DeadLetters, Failure
from services.messaging.errors import MessageTooLarge, SendFailed, Transient
from tests.support.records import DeadLetterTopic, Header, SentDeadLetter, record

SECRET = "4111 1111 1111 1111"


async def bury(error: BaseException, attempts: int = 6, headers: tuple[Header, ...] = ()) -> SentDeadLetter:
    """Make a dead letter."""
    dead_letters = DeadLetterTopic()
    await DeadLetters("billing", dead_letters).add(record(b"{}", headers=headers), Failure(error, attempts))
    return dead_letters.kept[0]


async def test_the_failure_is_told_as_text() -> None:
    """Each part of the story is a text header, and the dead letter goes to the group's own topic."""
    dead_letter = await bury(Undecodable("no JSON"))
    assert dead_letter.topic == "billing.dlq"
    assert dead_letter["sagatrace-dlq-group"] == b"billing"
    assert dead_letter["sagatrace-dlq-topic"] == b"oms.saga.events"
    assert dead_letter["sagatrace-dlq-partition"] == b"2"
    assert dead_letter["sagatrace-dlq-offset"] == b"7"
    assert dead_letter["sagatrace-dlq-timestamp"] == b"1700000000000"
    assert dead_letter["sagatrace-dlq-error-type"] == b"services.contracts.errors.Undecodable"
    assert dead_letter["sagatrace-dlq-error-message"] == b"no JSON"
    assert dead_letter["sagatrace-dlq-attempts"] == b"6"
    assert (dead_letter["sagatrace-dlq-failed-at"] or b"").endswith(b"+00:00")


async def test_spring_reads_where_it_came_from() -> None:
    """Spring's headers hold its binary form: int32 and int64, big endian."""
    dead_letter = await bury(Undecodable("no JSON"))
    assert dead_letter["kafka_dlt-original-topic"] == b"oms.saga.events"
    assert dead_letter["kafka_dlt-original-partition"] == struct.pack(">i", 2)
    assert dead_letter["kafka_dlt-original-offset"] == struct.pack(">q", 7)
    assert dead_letter["kafka_dlt-original-timestamp"] == struct.pack(">q", 1_700_000_000_000)
    assert dead_letter["kafka_dlt-original-timestamp-type"] == b"CreateTime"
    assert dead_letter["kafka_dlt-original-consumer-group"] == b"billing"


async def test_the_trace_context_moves_aside() -> None:
    """The record's own trace context is kept under another name, so that the send's is the only one."""
    headers = (("traceparent", b"00-1"), ("TraceState", b"a=b"), ("baggage", b"c=d"), ("x", None))
    dead_letter = await bury(Undecodable("no JSON"), headers=headers)
    assert dead_letter["sagatrace-dlq-original-traceparent"] == b"00-1"
    assert dead_letter["sagatrace-dlq-original-tracestate"] == b"a=b"
    assert dead_letter["baggage"] == b"c=d"
    assert dead_letter["x"] is None
    assert "traceparent" not in dict(dead_letter.headers)


async def test_a_second_failure_replaces_the_story_and_keeps_the_first_origin() -> None:
    """A dead letter that fails again tells of the new failure once, and of the first trace."""
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
    dead_letter = await bury(caught.value)
    assert dead_letter["sagatrace-dlq-error-message"] == b""
    assert type(error).__name__.encode() in (dead_letter["sagatrace-dlq-error-type"] or b"")
    assert b"test_topic.py" in (dead_letter["sagatrace-dlq-stacktrace"] or b"")
    assert SECRET.encode() not in b"".join(value or b"" for _, value in dead_letter.headers)


async def test_a_long_stack_keeps_its_end() -> None:
    """Of a stack that is too long the innermost frames are kept: they tell where it happened."""

    def dive(depth: int) -> None:
        if depth:
            dive(depth - 1)
        raise ValueError

    with pytest.raises(ValueError) as caught:  # noqa: PT011  its text does not matter
        dive(200)
    dead_letter = await bury(caught.value)
    assert len(dead_letter["sagatrace-dlq-stacktrace"] or b"") <= 4096
    assert (dead_letter["sagatrace-dlq-stacktrace"] or b"").rstrip().endswith(b"raise ValueError")


async def test_a_record_without_a_trace_gets_none_from_its_second_failure() -> None:
    """What a re-drive added is not taken for the origin of a record that had no trace context."""
    first = await bury(Undecodable("first"))
    again = await bury(Undecodable("second"), headers=(*first.headers, ("traceparent", b"00-2")))
    assert not any(name.startswith("sagatrace-dlq-original-trace") for name, _ in again.headers)
    assert "traceparent" not in dict(again.headers)


async def test_a_second_failure_elsewhere_keeps_where_the_record_came_from() -> None:
    """Spring's headers say where the record was first, ours where it failed last, and each is there once."""
    first = await bury(Undecodable("first"))
    dead_letters = DeadLetterTopic()
    retried = record(b"{}", topic="billing.retry", partition=1, offset=99, headers=first.headers)
    await DeadLetters("billing", dead_letters).add(retried, Failure(Undecodable("second"), 1))
    (again,) = dead_letters.kept
    assert again["kafka_dlt-original-topic"] == b"oms.saga.events"
    assert again["kafka_dlt-original-offset"] == struct.pack(">q", 7)
    assert again["sagatrace-dlq-topic"] == b"billing.retry"
    assert again["sagatrace-dlq-offset"] == b"99"


async def test_another_systems_dead_letter_headers_are_kept() -> None:
    """Headers that a Spring application left on the record are a peer's; ours come after them, as Spring's would."""
    dead_letter = await bury(Undecodable("no JSON"), headers=(("kafka_dlt-original-topic", b"theirs"),))
    assert [value for name, value in dead_letter.headers if name == "kafka_dlt-original-topic"] == [
        b"theirs",
        b"oms.saga.events",
    ]


async def test_a_record_without_a_timestamp_can_be_buried() -> None:
    """Records of the oldest format have no timestamp: Kafka's word for that is -1."""
    dead_letters = DeadLetterTopic()
    old: Any = record(b"{}")
    old = replace(old, timestamp=None, timestamp_type=None)
    await DeadLetters("billing", dead_letters).add(old, Failure(Undecodable("no JSON"), 1))
    assert dead_letters.kept[0]["kafka_dlt-original-timestamp"] == struct.pack(">q", -1)
    assert dead_letters.kept[0]["kafka_dlt-original-timestamp-type"] == b"NoTimestampType"


@pytest.mark.parametrize("name", ["traceparent", "TRACESTATE"])
async def test_many_trace_headers_do_not_make_it_grow(name: str) -> None:
    """However many trace headers a broken peer has put on a record, the dead letter is at most 64 KiB larger."""
    headers = tuple((name, b"x") for _ in range(10_000))
    dead_letter = await bury(Transient("\udcff" * 10_000), headers=headers)
    sizes = [sum(len(name) + len(value or b"") for name, value in of) for of in (dead_letter.headers, headers)]
    assert sizes[0] - sizes[1] < 65_536
    assert sum(len(name) + len(value or b"") + 16 for name, value in dead_letter.headers) < 65_536


class SmallTopic(DeadLetterTopic):
    """A dead-letter topic that takes records of up to 8 KiB."""

    async def publish(
        self, topic: str, *, key: bytes | None, value: bytes | None, headers: Iterable[Header] = ()
    ) -> object:
        """Take a record that is small enough."""
        headers = list(headers)
        if len(key or b"") + len(value or b"") + sum(len(name) + len(what or b"") for name, what in headers) > 8192:
            raise MessageTooLarge("too large")
        return await super().publish(topic, key=key, value=value, headers=headers)


@pytest.mark.parametrize("large", ["key", "value", "headers"])
async def test_what_fits_nowhere_leaves_its_story(large: str) -> None:
    """A record too large for the dead letters is written without what makes it large: where it stands, and sizes."""
    parts: dict[str, Any] = {"key": b"o-1", "value": b"{}", "headers": ()}
    parts[large] = (("x", b"y" * 10_000),) if large == "headers" else b"y" * 10_000
    dead_letters = SmallTopic()
    await DeadLetters("billing", dead_letters).add(record(**parts), Failure(Undecodable("no JSON"), 1))
    dead_letter = dead_letters.kept[0]
    assert (dead_letter["sagatrace-dlq-partition"], dead_letter["sagatrace-dlq-offset"]) == (b"2", b"7")
    assert f"{large}=1000".encode() in (dead_letter["sagatrace-dlq-omitted"] or b"")
    assert dead_letter.value is None
    assert dead_letter.key == (None if large == "key" else b"o-1")
