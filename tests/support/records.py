"""Records as a consumer polls them, and a dead-letter topic in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from aiokafka import ConsumerRecord

from services.contracts import Message, encode
from services.contracts.events import SagaStarted
from services.contracts.topics import SAGA_EVENTS

Header = tuple[str, bytes | None]


def message(order: str = "o-1", sequence: int = 0) -> Message:
    """Return a message about an order."""
    return SagaStarted(saga_id=f"saga-of-{order}", order_id=order, sequence=sequence)


def record(  # noqa: PLR0913  a record has many fields, and a test names those that it means
    value: bytes | None = None,
    *,
    topic: str = SAGA_EVENTS,
    partition: int = 2,
    offset: int = 7,
    key: bytes | None = b"o-1",
    headers: Iterable[Header] = (),
    timestamp: int = 1_700_000_000_000,
) -> ConsumerRecord[bytes, bytes]:
    """Return a consumed record; by default its value is a valid message."""
    value = encode(message()) if value is None else value
    return ConsumerRecord(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp=timestamp,
        timestamp_type=0,
        key=key,
        value=value,
        checksum=None,
        serialized_key_size=-1 if key is None else len(key),
        serialized_value_size=len(value),
        headers=cast("Sequence[tuple[str, bytes]]", tuple(headers)),  # aiokafka does not type an absent value
    )


@dataclass(frozen=True)
class SentDeadLetter:
    """A record that was sent to a dead-letter topic."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[Header]

    def __getitem__(self, name: str) -> bytes | None:
        """Return the only header of this name."""
        (found,) = [value for header, value in self.headers if header == name]
        return found


@dataclass
class DeadLetterTopic:
    """A producer that keeps what it is given, after it has failed with each of some errors."""

    failures: list[Exception] = field(default_factory=list)
    kept: list[SentDeadLetter] = field(default_factory=list)

    async def publish(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[Header] = (),
    ) -> object:
        """Take one record."""
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        self.kept.append(SentDeadLetter(topic, key, value, list(headers)))
        return None
