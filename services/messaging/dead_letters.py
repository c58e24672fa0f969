"""Dead letters: what a group could not process, kept whole, with the story of the failure in its headers.

Key and value are the record's own bytes, and so are all its headers but the trace context: that moves to
`sagatrace-dlq-original-*`, because the record's `traceparent` is the one of the send to the dead-letter topic. The
failure is told twice: as text under `sagatrace-dlq-*`, and under Spring's `kafka_dlt-original-*` in its binary form
(spring-kafka, `DeadLetterRecordManager`: int32 and int64, big endian), so that tools which know those read it too.
A record that fails again gets the story of its new failure; what is called original stays that of the first.

What is added has an upper size far below the 64 KiB that a dead-letter topic takes more than its source, so what just
fits its topic fits here. A record that its topic took only because it was compressed may not: it leaves its story
alone, which says where it stands. No text holds a payload: of an exception only its class, and its stack's frames.
"""

from __future__ import annotations

import struct
import traceback
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Protocol

import tracing
from services.contracts import ContractError
from services.contracts.topics import dead_letter_topic
from services.messaging.errors import MessageTooLarge, MessagingError

OWN = "sagatrace-dlq-"
ORIGINAL = f"{OWN}original-"
SPRING = "kafka_dlt-original-"
TRACE_HEADERS = frozenset({"traceparent", "tracestate"})

_MESSAGE_BYTES = 1024
_KEY_BYTES = 1024
_STACK_BYTES = 4096
_NAME_BYTES = 512
# A record has one or two; each of those that a broken peer adds grows by the new name's prefix when it is moved.
_MOVED = 100
_TIMESTAMP_TYPES = {0: "CreateTime", 1: "LogAppendTime"}

Header = tuple[str, bytes | None]


class Record(tracing.Record, Protocol):
    """What a dead letter keeps of a consumed record: its bytes as they came."""

    @property
    def timestamp_type(self) -> int:
        """0: set by the producer, 1: set by the broker."""

    @property
    def key(self) -> bytes | None:
        """Its key."""

    @property
    def value(self) -> bytes | None:
        """Its value."""


class Publisher(Protocol):
    """What the dead letters need of a producer."""

    async def publish(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[Header] = (),
    ) -> object:
        """Send bytes and wait for the broker's acknowledgement."""


class DeadLetters:
    """The dead-letter topic of one group."""

    def __init__(self, group: str, producer: Publisher) -> None:
        self._group = group
        self._producer = producer

    async def add(self, record: Record, error: BaseException, attempts: int) -> None:
        """Write a record that could not be processed, in the current trace, and wait for the acknowledgement.

        A record that is too large even for here (its topic took it compressed, or takes more than ours) is written
        without what makes it large: its story says where it stands, and `sagatrace-dlq-omitted` what is left out.

        Raises:
            SendFailed: it is not certain that the record was written.
            Unavailable: no broker answers.
        """
        original = list(record.headers)
        failed_before = any(name.startswith(OWN) for name, _ in original)
        headers = list(_kept_again(original) if failed_before else _kept(original))
        story = list(_failure(self._group, record, error, attempts))
        spring = list(_spring(self._group, record))
        topic = dead_letter_topic(self._group)
        whole = [*headers, *story, *(() if failed_before else spring)]
        try:
            await self._producer.publish(topic, key=record.key, value=record.value, headers=whole)
        except MessageTooLarge:
            key = record.key if len(record.key or b"") <= _KEY_BYTES else None
            await self._producer.publish(topic, key=key, value=None, headers=[*story, *spring, _omitted(record)])


def _kept(headers: Iterable[Header]) -> Iterator[Header]:
    """Keep the headers of a first failure, and move the trace context."""
    moved = 0
    for name, value in headers:
        if name.lower() not in TRACE_HEADERS:
            yield name, value
        elif moved < _MOVED:
            moved += 1
            yield f"{ORIGINAL}{name.lower()}", value


def _kept_again(headers: Iterable[Header]) -> Iterator[Header]:
    """Keep the headers of a record that failed before, without that failure's story and the trace context since."""
    for name, value in headers:
        is_story = name.startswith(OWN) and not name.startswith(ORIGINAL)
        if not is_story and name.lower() not in TRACE_HEADERS:
            yield name, value


def _failure(group: str, record: Record, error: BaseException, attempts: int) -> Iterator[Header]:
    told = {
        "group": group,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "attempts": attempts,
        "error-type": f"{type(error).__module__}.{type(error).__qualname__}"[:_NAME_BYTES],
        "error-message": _message(error),
        "stacktrace": _frames(error),
        "failed-at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    for name, value in told.items():
        yield f"{OWN}{name}", str(value).encode(errors="backslashreplace")


def _omitted(record: Record) -> Header:
    """Say what of a record was too large to be kept, with the number of its bytes."""
    headers = sum(len(name.encode()) + len(value or b"") for name, value in record.headers)
    sizes = {"key": len(record.key or b""), "value": len(record.value or b""), "headers": headers}
    return f"{OWN}omitted", ", ".join(f"{name}={size}" for name, size in sizes.items()).encode()


def _spring(group: str, record: Record) -> Iterator[Header]:
    yield f"{SPRING}topic", record.topic.encode()
    yield f"{SPRING}partition", struct.pack(">i", record.partition)
    yield f"{SPRING}offset", struct.pack(">q", record.offset)
    yield f"{SPRING}timestamp", struct.pack(">q", _timestamp(record.timestamp))
    yield f"{SPRING}timestamp-type", _TIMESTAMP_TYPES.get(record.timestamp_type, "NoTimestampType").encode()
    yield f"{SPRING}consumer-group", group.encode()


def _timestamp(milliseconds: int | None) -> int:
    """Give Kafka's own word for "none" where a record of the oldest format has no timestamp."""
    return -1 if milliseconds is None else milliseconds


def _message(error: BaseException) -> str:
    """Tell an error's text only where it is one of ours: anybody else's may quote the payload."""
    text = str(error) if isinstance(error, MessagingError | ContractError) else ""
    return text.encode(errors="backslashreplace")[:_MESSAGE_BYTES].decode(errors="ignore")


def _frames(error: BaseException) -> str:
    """Tell where an error came from, innermost frame last, without its text; outer frames go first if it is long."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return frames.encode(errors="backslashreplace")[-_STACK_BYTES:].decode(errors="ignore")
