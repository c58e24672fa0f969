"""A dead letter of any record, after any failure."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from services.messaging.dead_letters.topic import DeadLetters, Failure
from services.messaging.errors import Transient
from tests.support.records import DeadLetterTopic, Header, record

ROOM = 64 * 1024
NAMES = st.text(max_size=20) | st.sampled_from(["traceparent", "tracestate", "Traceparent", "baggage", "content-type"])
HEADERS = st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=60)), max_size=8)


@given(key=st.none() | st.binary(max_size=50), value=st.binary(max_size=200), headers=HEADERS, text=st.text())
def test_a_dead_letter_is_the_record_with_a_story(
    key: bytes | None,
    value: bytes,
    headers: list[Header],
    text: str,
) -> None:
    """Key, value and headers are kept byte for byte, no trace header is left, and what is added is below 64 KiB."""
    dead_letters = DeadLetterTopic()
    error = Transient(text * 1000)
    asyncio.run(DeadLetters("a-group", dead_letters).add(record(value, key=key, headers=headers), Failure(error, 3)))
    (dead_letter,) = dead_letters.kept
    assert (dead_letter.key, dead_letter.value) == (key, value)
    kept = [header for header in headers if header[0].lower() not in {"traceparent", "tracestate"}]
    assert [header for header in dead_letter.headers if header in kept] == kept
    assert not any(name.lower() in {"traceparent", "tracestate"} for name, _ in dead_letter.headers)
    added = [header for header in dead_letter.headers if header not in kept]
    assert sum(len(name) + len(content or b"") + 16 for name, content in added) < ROOM
