"""The attributes of a span that describe one message: partition, offset, key, tombstone, captured headers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol

from opentelemetry.util.types import AttributeValue

from tracing import semconv
from tracing.headers import Headers, pairs
from tracing.semconv import Names
from tracing.telemetry import Telemetry

#: Characters of a captured header's value; the rest is cut.
_HEADER_LIMIT: Final = 256
#: `serialized_value_size` of a record without a value, whatever a deserializer made of it.
_NO_VALUE: Final = -1


class Record(Protocol):
    """A received message: aiokafka's `ConsumerRecord`, or anything with these attributes."""

    @property
    def topic(self) -> str:
        """The topic's name."""

    @property
    def partition(self) -> int:
        """The number of the partition."""

    @property
    def offset(self) -> int:
        """The position in the partition."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch; not positive if there is none."""

    @property
    def key(self) -> object:
        """The key, deserialised or not."""

    @property
    def value(self) -> object:
        """The value, deserialised or not."""

    @property
    def headers(self) -> Headers:
        """The headers, in order."""


def describe(attributes: dict[str, AttributeValue], record: Record, telemetry: Telemetry) -> None:
    """Add what identifies a received record to the attributes of its span."""
    names = telemetry.names
    attributes[semconv.MESSAGING_DESTINATION_PARTITION_ID] = str(record.partition)
    attributes[names.offset] = record.offset
    if record.key is not None and (key := telemetry.render_key(record.key)) is not None:
        attributes[names.message_key] = key
    if record.value is None and getattr(record, "serialized_value_size", _NO_VALUE) == _NO_VALUE:
        attributes[names.tombstone] = True
    if telemetry.captured_headers:
        capture(attributes, record.headers, telemetry.captured_headers)


def link_attributes(record: Record, names: Names) -> dict[str, AttributeValue]:
    """Return what identifies the message of a link in a batch (messaging-spans.md, "Batch receiving")."""
    attributes: dict[str, AttributeValue] = {
        semconv.MESSAGING_DESTINATION_PARTITION_ID: str(record.partition),
        names.offset: record.offset,
    }
    if names.twins:
        names.add_twins(attributes)
    return attributes


def capture(attributes: dict[str, AttributeValue], headers: object, names: Collection[str]) -> None:
    """Add the headers that the user allowed, as lists of strings; bytes that are not UTF-8 become U+FFFD."""
    found: dict[str, list[str]] = {}
    for name, value in pairs(headers):
        if name in names and value is not None:
            found.setdefault(name, []).append(bytes(value)[:_HEADER_LIMIT].decode("utf-8", "replace"))
    for name, values in found.items():
        attributes[semconv.HEADER_PREFIX + name] = values
