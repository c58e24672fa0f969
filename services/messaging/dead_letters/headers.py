"""The headers of a dead letter, by name, and how they are read back.

| header | meaning |
|---|---|
| `sagatrace-dlq-group` | the group that could not process the record |
| `sagatrace-dlq-topic`, `-partition`, `-offset`, `-timestamp` | where it last failed, which may be `<group>.retry` |
| `sagatrace-dlq-attempts`, `-error-type`, `-error-message`, `-stacktrace`, `-failed-at` | the failure |
| `sagatrace-dlq-state` | `failed`; `behind` another record of its key; `parked` after its last re-drive |
| `sagatrace-dlq-behind` | the origin of the record that it would have overtaken, as `topic/partition@offset` |
| `sagatrace-dlq-failed-span` | the span in which it failed, as a `traceparent` |
| `sagatrace-dlq-redrive-count`, `-redrive-id` | how often it was re-driven, and by which run |
| `sagatrace-dlq-omitted` | bytes that were left out, as `key=1, value=2, headers=3`: it can't be re-driven |
| `sagatrace-dlq-original-topic`, `-partition`, `-offset`, `-timestamp` | its origin; later failures keep it |
| `sagatrace-dlq-original-traceparent`, `-tracestate` | the trace context that it came with |

All are text. A header that is missing or damaged is read as None, so anything in the topic can be shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol, Self

OWN = "sagatrace-dlq-"
ORIGINAL = f"{OWN}original-"
STATE = f"{OWN}state"
BEHIND = f"{OWN}behind"
FAILED_SPAN = f"{OWN}failed-span"
REDRIVE_COUNT = f"{OWN}redrive-count"
REDRIVE_ID = f"{OWN}redrive-id"
OMITTED = f"{OWN}omitted"
TRACE_HEADERS = frozenset({"traceparent", "tracestate"})

Header = tuple[str, bytes | None]

# Kafka's own bounds.
_MOST_PARTITION, _MOST_OFFSET = 2**31 - 1, 2**63 - 1
_MOST_DIGITS = 19
# Past any use, and within a row's integer.
_MOST_REDRIVES = 1_000_000
_PLACE = re.compile(r"(?P<topic>[A-Za-z0-9._-]{1,249})/(?P<partition>\d{1,10})@(?P<offset>\d{1,19})")


class DeadLetterState(StrEnum):
    """Why a record is a dead letter."""

    FAILED = "failed"
    BEHIND = "behind"
    PARKED = "parked"


@dataclass(frozen=True, order=True)
class Place:
    """Where a record is. The place of its origin identifies a dead letter within its group."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """Return `topic/partition@offset`."""
        return f"{self.topic}/{self.partition}@{self.offset}"

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Read what `str` wrote.

        Raises:
            ValueError: it is not a place.
        """
        found = _PLACE.fullmatch(text)
        place = found and cls(found["topic"], int(found["partition"]), int(found["offset"]))
        if not place or place.partition > _MOST_PARTITION or place.offset > _MOST_OFFSET:
            raise ValueError("a place is written topic/partition@offset")
        return place


class TopicRecord(Protocol):
    """A record of a dead-letter or retry topic, as far as it is read."""

    @property
    def topic(self) -> str:
        """Its topic."""

    @property
    def partition(self) -> int:
        """Its partition."""

    @property
    def offset(self) -> int:
        """Its offset."""

    @property
    def key(self) -> bytes | None:
        """Its key."""

    @property
    def value(self) -> bytes | None:
        """Its value."""

    @property
    def headers(self) -> Iterable[Header]:
        """Its headers, in order."""


@dataclass(frozen=True)
class DeadLetter:
    """One record of a dead-letter topic, read; times are aware and in UTC, timestamps milliseconds since the epoch."""

    at: Place
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    group: str | None
    #: Where the record first came from; None in a record that no consumer of this package wrote.
    origin: Place | None
    origin_timestamp: int | None
    state: DeadLetterState | None
    behind: Place | None
    attempts: int | None
    error_type: str | None
    error_message: str | None
    stacktrace: str | None
    failed_at: datetime | None
    failed_span: str | None
    redrive_count: int
    redrive_id: str | None
    omitted: str | None


def read_dead_letter(record: TopicRecord) -> DeadLetter:
    """Read a record of a dead-letter topic, whatever it is; never raises."""
    headers = tuple(record.headers)
    own = _own(headers)
    state, failed_at = own.get(STATE), own.get(f"{OWN}failed-at")
    return DeadLetter(
        at=Place(record.topic, record.partition, record.offset),
        key=record.key,
        value=record.value,
        headers=headers,
        group=own.get(f"{OWN}group"),
        origin=_origin(own),
        origin_timestamp=_number(own.get(f"{ORIGINAL}timestamp")),
        state=DeadLetterState(state) if state in set(DeadLetterState) else None,
        behind=_place(own.get(BEHIND)),
        attempts=_number(own.get(f"{OWN}attempts")),
        error_type=own.get(f"{OWN}error-type"),
        error_message=own.get(f"{OWN}error-message"),
        stacktrace=own.get(f"{OWN}stacktrace"),
        failed_at=_moment(failed_at),
        failed_span=own.get(FAILED_SPAN),
        redrive_count=_redrives(own),
        redrive_id=own.get(REDRIVE_ID),
        omitted=own.get(OMITTED),
    )


def origin_of(record: TopicRecord) -> Place | None:
    """Return the origin of a record that was re-driven, which is one that says its origin; else None."""
    return _origin(_own(record.headers))


def place_of(record: TopicRecord) -> Place:
    """Return what a record of a dead-letter topic is known by: its origin, or its own place if it does not say one."""
    return origin_of(record) or Place(record.topic, record.partition, record.offset)


def text_of(record: TopicRecord, name: str) -> str | None:
    """Return the value of one of our headers."""
    return _own(record.headers).get(name)


def number_of(record: TopicRecord, name: str) -> int | None:
    """Return the value of one of our headers that holds a number."""
    return _number(text_of(record, name))


def redrives_of(record: TopicRecord) -> int:
    """Return how often a record was re-driven, at most what a row can hold, whatever the header says."""
    return _redrives(_own(record.headers))


def _redrives(own: Mapping[str, str]) -> int:
    return min(_number(own.get(REDRIVE_COUNT)) or 0, _MOST_REDRIVES)


def _own(headers: Iterable[Header]) -> Mapping[str, str]:
    """Return our own headers as text; the last of a name counts, as everywhere in Kafka."""
    return {name: value.decode(errors="replace") for name, value in headers if name.startswith(OWN) and value}


def _origin(own: Mapping[str, str]) -> Place | None:
    topic = own.get(f"{ORIGINAL}topic")
    partition, offset = _number(own.get(f"{ORIGINAL}partition")), _number(own.get(f"{ORIGINAL}offset"))
    if topic is None or partition is None or offset is None:
        return None
    return _place(f"{topic}/{partition}@{offset}")


def _place(text: str | None) -> Place | None:
    try:
        return Place.of_text(text or "")
    except ValueError:
        return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):  # the latter at either end of the calendar
        return None
