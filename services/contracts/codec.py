"""Bytes to message and back: JSON, one discriminated union on `event_type`.

Writers are closed (an unknown field is an error where a message is made), readers are tolerant (an unknown field of a
newer writer is ignored), so that a service can be deployed before its peers.
"""

from __future__ import annotations

from typing import Annotated, Protocol, get_args

from pydantic import Field, TypeAdapter, ValidationError

from services.contracts import commands, events, replies
from services.contracts.envelope import Message
from services.contracts.errors import Invalid, Undecodable, UnknownType

_Union = (
    events.OrderCreated
    | events.OrderConfirmed
    | events.OrderCanceled
    | events.OrderRefunded
    | events.SagaStarted
    | events.SagaCompleted
    | events.SagaFailed
    | events.SagaCanceled
    | events.SagaRefunded
    | commands.ReserveStock
    | commands.ReleaseStock
    | commands.ChargePayment
    | commands.RefundPayment
    | replies.StockReserved
    | replies.StockRejected
    | replies.StockReleased
    | replies.PaymentCharged
    | replies.PaymentDeclined
    | replies.PaymentRefunded
    | replies.CommandDeadLettered
)
AnyMessage = Annotated[_Union, Field(discriminator="event_type")]

MESSAGE_TYPES: frozenset[str] = frozenset(model.model_fields["event_type"].default for model in get_args(_Union))
"""Every `event_type` that this version knows."""

_ADAPTER: TypeAdapter[Message] = TypeAdapter(AnyMessage)
_NOT_JSON = frozenset({"json_invalid", "model_attributes_type", "model_type", "dict_type"})
_NO_TYPE = frozenset({"union_tag_invalid"})


class ValueRecord(Protocol):
    """What the codec needs of a Kafka record."""

    @property
    def value(self) -> bytes | None:
        """The record's value."""


def encode(message: Message) -> bytes:
    """Write a message as compact UTF-8 JSON."""
    return message.model_dump_json().encode()


def parse_message(value: bytes | None) -> Message:
    """Read a message from a record's value.

    Raises:
        Undecodable: the value is absent, or not a JSON object.
        UnknownType: `event_type` is not known here.
        Invalid: a field breaks the contract; the text names the field and the rule, never the value. It knows the
            message's type.
    """
    if value is None:
        message = "the record has no value"
        raise Undecodable(message)
    try:
        return _ADAPTER.validate_json(value, extra="ignore")
    except ValidationError as error:
        raise _contract_error(error) from None


def parse_saga_event(record: ValueRecord) -> Message:
    """Read the message that a Kafka record carries.

    Raises:
        ContractError: as `parse_message` does.
    """
    return parse_message(record.value)


def _contract_error(error: ValidationError) -> Undecodable | UnknownType | Invalid:
    """Say what is wrong without any of the input: `errors(include_input=False)`."""
    details = error.errors(include_input=False, include_url=False, include_context=False)
    kinds = {detail["type"] for detail in details}
    if kinds & _NOT_JSON and not any(detail["loc"] for detail in details):
        return Undecodable("the value is not a JSON object in UTF-8")
    if kinds & _NO_TYPE:
        return UnknownType("the message's event_type is not known here")
    # The first part of a location is the union's tag; the rest is the path of the field.
    fields = (
        f"{'.'.join(str(part) for part in detail['loc'][1:]) or 'event_type'}: {detail['type']}" for detail in details
    )
    return Invalid("; ".join(fields), next((str(detail["loc"][0]) for detail in details if detail["loc"]), None))
