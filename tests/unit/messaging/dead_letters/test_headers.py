"""What is read back of a dead letter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.messaging.dead_letters.headers import DeadLetterState, Place, origin_of, read_dead_letter
from services.messaging.dead_letters.topic import DeadLetters, Failure
from services.messaging.errors import Transient
from tests.support.records import DeadLetterTopic, Header, record

NAMES = st.sampled_from(
    ["state", "behind", "offset", "original-topic", "original-partition", "original-offset", "group"]
)
VALUES = st.none() | st.binary(max_size=30) | st.from_regex(r"[0-9²]{1,25}").map(str.encode)


async def test_what_was_written_is_read() -> None:
    """A dead letter tells its origin, its failure and its state, as they were written."""
    dead_letters = DeadLetterTopic()
    failure = Failure(Transient("busy"), 6, DeadLetterState.BEHIND, Place("oms.saga.events", 2, 5))
    await DeadLetters("billing", dead_letters).add(record(b"{}", headers=[("x", b"y")]), failure)
    (kept,) = dead_letters.kept
    dead_letter = read_dead_letter(record(kept.value, topic=kept.topic, partition=1, offset=40, headers=kept.headers))
    assert (dead_letter.at, dead_letter.origin) == (Place("billing.dlq", 1, 40), Place("oms.saga.events", 2, 7))
    assert (dead_letter.group, dead_letter.key, dead_letter.value) == ("billing", b"o-1", b"{}")
    assert (dead_letter.state, dead_letter.behind) == (DeadLetterState.BEHIND, Place("oms.saga.events", 2, 5))
    assert (dead_letter.attempts, dead_letter.error_type) == (6, "services.messaging.errors.Transient")
    assert (dead_letter.error_message, dead_letter.redrive_count, dead_letter.omitted) == ("busy", 0, None)
    assert dead_letter.failed_at is not None
    assert ("x", b"y") in dead_letter.headers


async def test_a_redriven_record_says_its_origin_and_its_count() -> None:
    """A record that fails again keeps its origin and the count of its re-drives."""
    first, again = DeadLetterTopic(), DeadLetterTopic()
    await DeadLetters("billing", first).add(record(), Failure(Transient("busy"), 6))
    count = ("sagatrace-dlq-redrive-count", b"2")
    redriven = record(topic="billing.retry", offset=0, headers=[*first.kept[0].headers, count])
    assert origin_of(redriven) == Place("oms.saga.events", 2, 7)
    await DeadLetters("billing", again).add(redriven, Failure(Transient("busy"), 6))
    dead_letter = read_dead_letter(record(topic="billing.dlq", headers=again.kept[0].headers))
    assert (dead_letter.origin, dead_letter.redrive_count) == (Place("oms.saga.events", 2, 7), 2)
    assert again.kept[0]["sagatrace-dlq-topic"] == b"billing.retry"


@given(headers=st.lists(st.tuples(NAMES.map("sagatrace-dlq-{}".format), VALUES), max_size=8))
def test_whatever_is_in_the_topic_can_be_read(headers: list[Header]) -> None:
    """No header makes the reading fail, and a damaged one reads as none."""
    dead_letter = read_dead_letter(record(headers=headers))
    assert dead_letter.value is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a/b@c",
        "a/1@",
        "/1@2",
        "a b/1@2",
        "a/1@2 ",
        "a/1@99999999999999999999",
        "a/2147483648@1",
        "a/1@9223372036854775808",
    ],
)
def test_what_is_no_place_is_refused(text: str) -> None:
    """A place is topic/partition@offset and nothing else."""
    with pytest.raises(ValueError, match="topic/partition@offset"):
        Place.of_text(text)
    assert Place.of_text("a.b/1@2") == Place("a.b", 1, 2)
