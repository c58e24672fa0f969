"""The envelope of every message, and the small values that payloads are made of.

Trace context is not here: it travels in Kafka headers only.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, Strict, StringConstraints
from pydantic_core import PydanticCustomError
from uuid_utils.compat import uuid7

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
"""An id as it goes into keys, span attributes and URLs."""

_NUMBER = re.compile(r"[\d.+-]*")

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


def _is_no_number(time: object) -> object:
    """Refuse a number, also one in quotes: pydantic takes both for seconds since 1970."""
    if isinstance(time, datetime) or (isinstance(time, str) and not _NUMBER.fullmatch(time)):
        return time
    raise PydanticCustomError("datetime_type", "a time has a date and a zone")


# The check replaces pydantic's strict one, which would refuse a text behind a validator.
Time = Annotated[AwareDatetime, Strict(strict=False), BeforeValidator(_is_no_number)]
"""A time with a date and a zone (RFC 3339)."""


V1 = Annotated[int, Field(ge=1, le=1)]
V2 = Annotated[int, Field(ge=2, le=2)]
"""The `schema_version` of a model: the one version that it reads and writes."""


def new_id() -> UUID:
    """Return a new UUID of version 7, whose order is the order of creation (RFC 9562, section 5.7)."""
    return uuid7()


def now() -> datetime:
    """Return the current time, aware and in UTC."""
    return datetime.now(UTC)


class Value(BaseModel):
    """A frozen value of the wire language, closed when it is made here and read tolerantly when it is parsed.

    It is strict both ways: `true`, `"3"` and `3.0` are no whole numbers, and a number is no time. Input never shows in
    an error's text, so that no payload reaches a log or a span's status.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Money(Value):
    """An amount in integer minor units (cents) of an ISO 4217 currency."""

    amount: Annotated[int, Field(ge=0, le=10**15, description="In minor units, such as cents.")]
    currency: Annotated[Currency, Field(description="ISO 4217.")]


class Item(Value):
    """One line of an order."""

    sku: Identifier
    quantity: Annotated[int, Field(ge=1, le=10_000)]
    unit_price: Money


class Message(Value):
    """The envelope of every message, around its typed payload.

    `sequence` is the saga's version when the message was written: it orders one saga's messages across topics.
    `schema_version` is that of the message's type; a record without one has version 1.
    """

    event_id: UUID = Field(default_factory=new_id)
    event_type: str
    schema_version: Annotated[int, Field(ge=1)] = 1
    saga_id: Identifier
    order_id: Identifier
    sequence: Annotated[int, Field(ge=0)]
    occurred_at: Time = Field(default_factory=now)
    payload: Value


DESCRIPTIONS = {
    "event_id": "Identifies the message: a reader that has seen it drops the repetition.",
    "event_type": "What kind of message it is.",
    "schema_version": "The version that the writer wrote; a reader of this one reads the earlier ones too.",
    "saga_id": "The saga that the message belongs to.",
    "order_id": "The order that the saga is about; the record's key.",
    "sequence": "The saga's version when the message was written: it orders one saga's messages across topics.",
    "occurred_at": "When it happened, with a zone (RFC 3339).",
}
"""What each field of the envelope says, for the schemas."""
