"""The codec: what it reads, what it refuses, and what its errors never show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from services.contracts import (
    Invalid,
    Item,
    Message,
    Money,
    Undecodable,
    UnknownType,
    commands,
    encode,
    events,
    new_id,
    parse_message,
    parse_saga_event,
    replies,
)
from services.contracts.commands import Step
from services.contracts.envelope import Value
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


ANSWER = replies.Answer(command_id=new_id(), step=Step.CHARGE)
REFUSAL = replies.Refusal(command_id=new_id(), step=Step.CHARGE, reason="declined")
COMMAND = commands.Command(command_id=new_id(), step=Step.CHARGE, attempt=2)
TOTAL = Money(amount=300, currency="EUR")
ITEMS = (Item(sku="sku_ok", quantity=2, unit_price=Money(amount=150, currency="EUR")),)
IDS = {"saga_id": "s-1", "order_id": "o-1", "sequence": 3}
PAYLOADS: dict[type[Message], Value] = {
    events.OrderCreated: events.OrderPlaced(customer_id="c-1", items=ITEMS, total=TOTAL),
    events.OrderConfirmed: events.OrderTotal(total=TOTAL),
    events.OrderCanceled: events.Reason(reason="declined"),
    events.OrderRefunded: events.OrderTotal(total=TOTAL),
    events.SagaStarted: events.Nothing(),
    events.SagaCompleted: events.Nothing(),
    events.SagaFailed: events.Reason(reason="declined"),
    events.SagaCanceled: events.Reason(reason="declined"),
    events.SagaRefunded: events.Reason(reason="declined"),
    commands.ReserveStock: commands.Reservation(command_id=new_id(), step=Step.RESERVE, items=ITEMS),
    commands.ReleaseStock: COMMAND,
    commands.ChargePayment: commands.Charge(command_id=new_id(), step=Step.CHARGE, total=TOTAL, payment_method="pm_ok"),
    commands.RefundPayment: COMMAND,
    replies.StockReserved: ANSWER,
    replies.StockRejected: REFUSAL,
    replies.StockReleased: ANSWER,
    replies.PaymentCharged: ANSWER,
    replies.PaymentDeclined: REFUSAL,
    replies.PaymentRefunded: ANSWER,
    replies.CommandDeadLettered: REFUSAL,
}
#: A message of every type.
SAMPLES = tuple(model.model_validate({**IDS, "payload": payload}) for model, payload in PAYLOADS.items())
Path = tuple[str | int, ...]


def leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """Yield the values of a JSON document that hold no others, each with its path."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if parts is None:
        yield path, value
    else:
        for key, part in parts:
            yield from leaves(part, (*path, key))


def replaced(value: Any, path: Path, new: object) -> Any:
    """Return a JSON document with another value at a path."""
    if not path:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def altered(**changes: object) -> bytes:
    """Encode the small message with some of its fields changed; None takes a field away."""
    body = json.loads(encode(failed())) | changes
    return json.dumps({key: value for key, value in body.items() if value is not None}).encode()


@pytest.mark.parametrize("message", list(SAMPLES), ids=lambda message: message.event_type)
def test_a_message_survives_the_wire(message: Message) -> None:
    """What is encoded parses back to an equal message."""
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


@pytest.mark.parametrize("message", list(SAMPLES), ids=lambda message: message.event_type)
@pytest.mark.parametrize("wrong", [True, "7", 7.0, 7.5, [7], {}], ids=repr)
def test_only_a_number_is_read_as_a_number(message: Message, wrong: object) -> None:
    """In no message and at no depth is a truth, a text or a fraction taken for a whole number."""
    body = json.loads(encode(message))
    numbers = [path for path, value in leaves(body) if type(value) is int]
    assert ("sequence",) in numbers
    for path in numbers:
        with pytest.raises(Invalid, match=str(path[-1])):
            parse_message(json.dumps(replaced(body, path, wrong)).encode())


@pytest.mark.parametrize("message", list(SAMPLES), ids=lambda message: message.event_type)
def test_a_number_is_read_as_nothing_else(message: Message) -> None:
    """Where a message holds a text, an id or a time, no number and no truth is taken for one."""
    body = json.loads(encode(message))
    texts = [path for path, value in leaves(body) if type(value) is str and path != ("event_type",)]
    assert ("occurred_at",) in texts
    for path in texts:
        for wrong in (7, 1_700_000_000, 1.5, True):
            with pytest.raises(Invalid, match=str(path[-1])):
                parse_message(json.dumps(replaced(body, path, wrong)).encode())


def test_a_time_is_no_number_in_quotes() -> None:
    """Seconds since 1970 are not a time, however they are written: a time has a date and a zone."""
    for wrong in ("1700000000", "1700000000.5", "-1"):
        with pytest.raises(Invalid, match="occurred_at"):
            parse_message(altered(occurred_at=wrong))


def test_writers_are_strict_too() -> None:
    """What is made here is checked as what is read is."""
    with pytest.raises(ValidationError, match="amount"):
        Money(amount="7", currency="EUR")  # type: ignore[arg-type]


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
