"""Bytes to message and back: JSON, one discriminated union on `event_type`, and in it the version.

Writers are closed (an unknown field is an error where a message is made), readers are tolerant (an unknown field of a
newer writer is ignored), so that a service can be deployed before its peers. A reader gets the newest version of what
it reads, whichever version was written (`versions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from pydantic import Field, TypeAdapter, ValidationError

from services.contracts.envelope import Message
from services.contracts.errors import Invalid, Undecodable, UnknownType, UnknownVersion
from services.contracts.versions import VERSIONS, Identity, Newest

AnyMessage = Annotated[Newest, Field(discriminator="event_type")]

MESSAGE_TYPES: frozenset[str] = frozenset(VERSIONS.types())
"""Every `event_type` that this version knows."""

_ADAPTER: TypeAdapter[Message] = TypeAdapter(AnyMessage)
_NOT_JSON = frozenset({"json_invalid", "model_attributes_type", "model_type", "dict_type"})
_NO_TYPE = frozenset({"union_tag_invalid"})
_OTHER_VERSION = frozenset({"greater_than_equal", "less_than_equal"})
_VERSION = "schema_version"
#: Types that are written at an older version than the newest.
Held = Mapping[str, int]


class ValueRecord(Protocol):
    """What the codec needs of a Kafka record."""

    @property
    def value(self) -> bytes | None:
        """The record's value."""


def encode(message: Message, held: Held | None = None) -> bytes:
    """Write a message as compact UTF-8 JSON, at the version at which its type is held, if it is.

    Raises:
        KeyError: its type is held at a version that is not kept.
    """
    if held and message.event_type in held:
        message = VERSIONS.downcast(message, held[message.event_type])
    return message.model_dump_json().encode()


def parse_message(value: bytes | None) -> Message:
    """Read a message from a record's value, as the newest version of its type has it.

    Raises:
        Undecodable: the value is absent, or not a JSON object.
        UnknownType: `event_type` is not known here.
        UnknownVersion: `schema_version` is not one that is read here.
        Invalid: a field breaks the contract; the text names the field and the rule, never the value. It knows the
            message's type.
    """
    if value is None:
        message = "the record has no value"
        raise Undecodable(message)
    try:
        read = _ADAPTER.validate_json(value, extra="ignore")
    except ValidationError as error:
        written = _other_version(error)
        if written is None:
            raise _contract_error(error) from None
    else:
        if read.schema_version == 1 or _VERSION in read.model_fields_set:
            return read
        written = read.event_type, 1
    return _parse_version(value, *written)


def parse_saga_event(record: ValueRecord) -> Message:
    """Read the message that a Kafka record carries.

    Raises:
        ContractError: as `parse_message` does.
    """
    return parse_message(record.value)


def _parse_version(value: bytes, event_type: str, version: int) -> Message:
    """Read a message of another version than the newest, and take it up to the newest."""
    model = VERSIONS.models.get(Identity(event_type, version))
    if model is None:
        raise UnknownVersion(event_type, version, VERSIONS.of_type(event_type))
    try:
        return VERSIONS.upcast(model.model_validate_json(value, extra="ignore"))
    except ValidationError as error:
        raise _contract_error(error, event_type) from None


def _other_version(error: ValidationError) -> tuple[str, int] | None:
    """Return the type and version of a message that is not of the newest version; None if that is not its fault."""
    for detail in error.errors(include_url=False, include_context=False):
        is_version = detail["loc"][1:] == (_VERSION,) and detail["type"] in _OTHER_VERSION
        if is_version and detail["input"] >= 1:
            return str(detail["loc"][0]), detail["input"]
    return None


def _contract_error(error: ValidationError, event_type: str | None = None) -> Undecodable | UnknownType | Invalid:
    """Say what is wrong without any of the input, `errors(include_input=False)`: of a message of a type, or of any."""
    details: list[Any] = list(error.errors(include_input=False, include_url=False, include_context=False))
    kinds = {detail["type"] for detail in details}
    if kinds & _NOT_JSON and not any(detail["loc"] for detail in details):
        return Undecodable("the value is not a JSON object in UTF-8")
    if kinds & _NO_TYPE:
        return UnknownType("the message's event_type is not known here")
    # In the union the first part of a location is its tag; the rest is the path of the field.
    tag = 1 if event_type is None else 0
    fields = (
        f"{'.'.join(str(part) for part in detail['loc'][tag:]) or 'event_type'}: {detail['type']}" for detail in details
    )
    tagged = next((str(detail["loc"][0]) for detail in details if detail["loc"]), None)
    return Invalid("; ".join(fields), event_type or tagged)
