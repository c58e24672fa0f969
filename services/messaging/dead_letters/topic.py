"""Dead letters: what a group could not process, kept whole, with the failure in its headers.

Key and value are the record's own bytes, and so are all its headers but the trace context: that moves to
`sagatrace-dlq-original-*`, because the record's `traceparent` is the one of the send to the dead-letter topic. The
failure is written twice: as text under `sagatrace-dlq-*`, and under Spring's `kafka_dlt-original-*` in its binary form
(spring-kafka, `DeadLetterRecordManager`: int32 and int64, big endian), so that tools which know those read it too.
A record that fails again gets the headers of its new failure; what is called original stays that of the first.

What is added is far smaller than the 64 KiB that a dead-letter topic takes more than its source, so what just fits its
topic fits here. A record that its topic took only because it was compressed may not fit: then only the headers are
kept, which say where it is. No text holds a payload: of an exception only its class and the frames of its stack.
"""

from __future__ import annotations

import struct
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from services.contracts import ContractError
from services.contracts.topics import dead_letter_topic
from services.messaging import trace_context
from services.messaging.dead_letters.headers import (
    BEHIND,
    FAILED_SPAN,
    ORIGINAL,
    OWN,
    REDRIVE_COUNT,
    REDRIVE_ID,
    STATE,
    TRACE_HEADERS,
    DeadLetterState,
    Header,
    Place,
    origin_of,
)
from services.messaging.errors import MessageTooLarge, MessagingError
from tracing.messages import Record

SPRING = "kafka_dlt-original-"

_MESSAGE_BYTES = 1024
_KEY_BYTES = 1024
_STACK_BYTES = 4096
_NAME_BYTES = 512
# A record has one or two; each of those that a broken peer adds grows by the new name's prefix when it is moved.
_MOVED = 100
_PLACED = ("topic", "partition", "offset", "timestamp")
_SPRING_ALONE = ("timestamp-type", "consumer-group")
_TIMESTAMP_TYPES = {0: "CreateTime", 1: "LogAppendTime"}

# What a re-drive has written, and the next failure passes on.
_CARRIED = (REDRIVE_COUNT, REDRIVE_ID)


class ConsumedRecord(Record, Protocol):
    """A consumed record, as far as a dead letter keeps it: its bytes as they came."""

    @property
    def timestamp_type(self) -> int:
        """0: set by the producer, 1: set by the broker."""

    @property
    def key(self) -> bytes | None:
        """Its key."""

    @property
    def value(self) -> bytes | None:
        """Its value."""


class DeadLetterPublisher(Protocol):
    """A producer, as far as dead letters need one."""

    async def publish(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[Header] = (),
    ) -> object:
        """Send bytes and wait for the broker's acknowledgement."""


@dataclass(frozen=True)
class Failure:
    """Why a record becomes a dead letter: its last error, after how many attempts, and what happens to it next."""

    error: BaseException
    attempts: int = 0
    state: DeadLetterState = DeadLetterState.FAILED
    #: The record that it would have overtaken.
    behind: Place | None = None


class DeadLetters:
    """The dead-letter topic of one group."""

    def __init__(self, group: str, producer: DeadLetterPublisher) -> None:
        self._group = group
        self._producer = producer

    async def add(self, record: ConsumedRecord, failure: Failure) -> None:
        """Write a record that could not be processed, in the current trace, and wait for the acknowledgement.

        A record that is too large even for this topic (its own took it compressed, or takes more) is written without
        what makes it large: its headers say where it is, and `sagatrace-dlq-omitted` says what is left out.

        What a record says about its origin is believed: it was re-driven, here or by another tool.

        Raises:
            SendFailed: it is not certain that the record was written.
            Unavailable: no broker answers.
        """
        original = list(record.headers)
        failed_before = any(name.startswith(OWN) for name, _ in original)
        headers = list(_kept_again(original) if failed_before else _kept(original))
        failed = list(_failed(self._group, record, failure))
        known = origin_of(record) is not None
        origin = () if known else tuple(_origin(self._group, record))
        topic = dead_letter_topic(self._group)
        try:
            whole = [*headers, *failed, *origin]
            await self._producer.publish(topic, key=record.key, value=record.value, headers=whole)
        except MessageTooLarge:
            key = record.key if len(record.key or b"") <= _KEY_BYTES else None
            alone = [*failed, *(_first_origin(original) if known else origin), _omitted(record)]
            await self._producer.publish(topic, key=key, value=None, headers=alone)


def _kept(headers: Iterable[Header]) -> Iterator[Header]:
    """Yield the headers of a record that failed for the first time, with the trace context moved."""
    moved = 0
    for name, value in headers:
        if name.lower() not in TRACE_HEADERS:
            yield name, value
        elif moved < _MOVED:
            moved += 1
            yield f"{ORIGINAL}{name.lower()}", value


def _kept_again(headers: Iterable[Header]) -> Iterator[Header]:
    """Yield the headers of a record that failed before, without those of that failure and the trace context since."""
    for name, value in headers:
        is_of_failure = name.startswith(OWN) and not name.startswith(ORIGINAL)
        if not is_of_failure and name.lower() not in TRACE_HEADERS:
            yield name, value


def _first_origin(headers: Iterable[Header]) -> Iterable[Header]:
    """Return the headers about the record's origin, each name once, without values that are too long to be ours."""
    ours = {f"{ORIGINAL}{name}" for name in _PLACED} | {f"{SPRING}{name}" for name in (*_PLACED, *_SPRING_ALONE)}
    return {name: value for name, value in headers if name in ours and len(value or b"") <= _NAME_BYTES}.items()


def _failed(group: str, record: ConsumedRecord, failure: Failure) -> Iterator[Header]:
    error = failure.error
    values = {
        "group": group,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "attempts": failure.attempts,
        "error-type": error_type(error),
        "error-message": error_text(error),
        "stacktrace": _frames(error),
        "failed-at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    for name, value in values.items():
        yield f"{OWN}{name}", str(value).encode(errors="backslashreplace")
    yield STATE, failure.state.encode()
    if failure.behind is not None:
        yield BEHIND, str(failure.behind).encode()
    if (span := trace_context.capture().get("traceparent")) is not None:
        yield FAILED_SPAN, span.encode()
    yield from (header for header in record.headers if header[0] in _CARRIED and len(header[1] or b"") <= _NAME_BYTES)


def _origin(group: str, record: ConsumedRecord) -> Iterator[Header]:
    for name in _PLACED:
        yield f"{ORIGINAL}{name}", str(getattr(record, name)).encode()
    yield from _spring(group, record)


def _omitted(record: ConsumedRecord) -> Header:
    """Return the header that says how many bytes of the record were left out."""
    headers = sum(len(name.encode()) + len(value or b"") for name, value in record.headers)
    sizes = {"key": len(record.key or b""), "value": len(record.value or b""), "headers": headers}
    return f"{OWN}omitted", ", ".join(f"{name}={size}" for name, size in sizes.items()).encode()


def _spring(group: str, record: ConsumedRecord) -> Iterator[Header]:
    yield f"{SPRING}topic", record.topic.encode()
    yield f"{SPRING}partition", struct.pack(">i", record.partition)
    yield f"{SPRING}offset", struct.pack(">q", record.offset)
    yield f"{SPRING}timestamp", struct.pack(">q", _timestamp(record.timestamp))
    yield f"{SPRING}timestamp-type", _TIMESTAMP_TYPES.get(record.timestamp_type, "NoTimestampType").encode()
    yield f"{SPRING}consumer-group", group.encode()


def _timestamp(milliseconds: int | None) -> int:
    """Return -1, which is Kafka's "none", where a record of the oldest format has no timestamp."""
    return -1 if milliseconds is None else milliseconds


def error_type(error: BaseException) -> str:
    """Return the class of an error, with its module."""
    return f"{type(error).__module__}.{type(error).__qualname__}"[:_NAME_BYTES]


def error_text(error: BaseException) -> str:
    """Return the text of one of our errors, at most 1 KiB, else nothing: a foreign text may quote the payload."""
    text = str(error) if isinstance(error, MessagingError | ContractError) else ""
    return text.encode(errors="backslashreplace")[:_MESSAGE_BYTES].decode(errors="ignore")


def _frames(error: BaseException) -> str:
    """Return the frames of an error's stack, innermost last, without its text; outer ones are cut if they are long."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return frames.encode(errors="backslashreplace")[-_STACK_BYTES:].decode(errors="ignore")
