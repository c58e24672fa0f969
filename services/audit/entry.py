"""What the audit trail keeps of a record, pure: the record's bytes and place, and the envelope inside.

An event of a type that this version does not know is read by its envelope alone: the trail shows that it came, and
keeps its bytes for a version that knows it.
"""

from __future__ import annotations

from typing import Protocol

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from services.contracts import Invalid, Message, UnknownType, parse_message


class SourceRecord(Protocol):
    """What the trail needs of a Kafka record."""

    @property
    def topic(self) -> str:
        """The record's topic."""

    @property
    def partition(self) -> int:
        """The record's partition."""

    @property
    def offset(self) -> int:
        """The record's offset."""

    @property
    def value(self) -> bytes | None:
        """The record's value."""


class AuditEntry(Message):
    """An event with the record that it came in."""

    topic: str
    partition: int
    offset: int
    value: bytes
    is_known: bool


def entry_of(record: SourceRecord) -> AuditEntry:
    """Return the trail's entry for a record.

    Raises:
        ContractError: the value is not a JSON object, or its envelope breaks the contract.
    """
    value = record.value or b""
    try:
        return _entry(record, parse_message(record.value), value, is_known=True)
    except UnknownType:
        return _entry(record, _envelope(value), value, is_known=False)


def _envelope(value: bytes) -> Message:
    # A later version's payload may be anything: it is kept as bytes, and not looked at.
    fields = to_json({**from_json(value), "payload": {}})
    try:
        return Message.model_validate_json(fields, extra="ignore")
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False, include_context=False)
        rules = (f"{'.'.join(map(str, detail['loc']))}: {detail['type']}" for detail in details)
        raise Invalid("; ".join(rules)) from None


def _entry(record: SourceRecord, message: Message, value: bytes, *, is_known: bool) -> AuditEntry:
    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    envelope = {name: getattr(message, name) for name in Message.model_fields}
    return AuditEntry.model_validate({**envelope, **place, "value": value, "is_known": is_known})
