"""The codec: what it reads, what it refuses, and what its errors never show."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from services.contracts import Invalid, Undecodable, UnknownType, encode, events, parse_message, parse_saga_event
from services.contracts.errors import ContractError

SECRET = "4111-1111"


def failed() -> events.SagaFailed:
    """Make a small message."""
    return events.SagaFailed(
        saga_id="s-1",
        order_id="o-1",
        sequence=3,
        payload=events.Reason(reason="payment_declined"),
    )


def altered(**changes: object) -> bytes:
    """Encode the small message with some of its fields changed; None takes a field away."""
    body = json.loads(encode(failed())) | changes
    return json.dumps({key: value for key, value in body.items() if value is not None}).encode()


def test_a_message_survives_the_wire() -> None:
    """What is encoded parses back to an equal message."""
    message = failed()
    assert parse_message(encode(message)) == message


def test_a_record_is_parsed_by_its_value() -> None:
    """`parse_saga_event` takes a Kafka record."""
    message = failed()
    assert parse_saga_event(SimpleNamespace(value=encode(message))) == message


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, Undecodable),
        (b"", Undecodable),
        (b"\xff\xfe", Undecodable),
        (b"[]", Undecodable),
        (b"{" * 100_000, Undecodable),
        (b"{}", Invalid),
        (altered(event_type="saga.exploded"), UnknownType),
        (altered(event_type=7), UnknownType),
        (altered(event_type=None), Invalid),
        (altered(saga_id=None), Invalid),
        (altered(sequence=-1), Invalid),
        (altered(event_id="not a uuid"), Invalid),
        (altered(occurred_at="2026-01-01T00:00:00"), Invalid),
        (altered(payload={}), Invalid),
    ],
)
def test_a_broken_message_is_refused_by_kind(value: bytes | None, error: type[ContractError]) -> None:
    """Each way to be broken has its own error, which decides whether the record is skipped or dead-lettered."""
    with pytest.raises(error):
        parse_message(value)


def test_a_readers_error_names_the_field() -> None:
    """The error's text names the field and the rule."""
    with pytest.raises(Invalid, match=r"payload\.reason: string_pattern_mismatch"):
        parse_message(altered(payload={"reason": f"card {SECRET}"}))


def test_no_error_shows_the_input() -> None:
    """Neither the reader's nor the writer's error holds any of the message's values."""
    with pytest.raises(ContractError) as read:
        parse_message(altered(payload={"reason": f"card {SECRET}"}, saga_id=f"{SECRET} {SECRET}"))
    with pytest.raises(ValidationError) as written:
        events.Reason(reason=f"card {SECRET}")
    assert SECRET not in f"{read.value!r} {read.value.__cause__!r} {written.value}"


def test_readers_are_tolerant_and_writers_closed() -> None:
    """A newer writer's extra field is ignored at every level, while a field unknown to a writer is an error at once."""
    newer = altered(colour="green", payload={"reason": "declined", "colour": "green"})
    assert parse_message(newer).event_type == "saga.failed"
    with pytest.raises(ValidationError, match="colour"):
        events.Reason(reason="declined", colour="green")  # type: ignore[call-arg]
