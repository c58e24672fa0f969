"""A record as it was received, and as it originally was: a re-driven one says where it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from opentelemetry.trace import Link

from services.messaging import semconv
from services.messaging.dead_letters.headers import (
    FAILED_SPAN,
    ORIGINAL,
    Header,
    Place,
    number_of,
    origin_of,
    redrives_of,
    text_of,
)
from services.messaging.dead_letters.topic import ConsumedRecord
from services.messaging.trace_context import span_context
from tracing.semconv import LINK_TYPE


@dataclass(frozen=True)
class Original:
    """A re-driven record with the place and the time of its origin, as it is decoded."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]


@dataclass(frozen=True)
class Received:
    """A record of a group's topics, or of its retry topic."""

    record: ConsumedRecord

    @cached_property
    def origin(self) -> Place:
        """Where the record first came from: this identifies a dead letter."""
        return self._first or Place(self.record.topic, self.record.partition, self.record.offset)

    @property
    def is_redriven(self) -> bool:
        """Whether the record has been a dead letter before."""
        return self._first is not None

    @cached_property
    def redrives(self) -> int:
        """How often it was re-driven."""
        return (redrives_of(self.record) or 1) if self.is_redriven else 0

    @cached_property
    def original(self) -> ConsumedRecord:
        """The record as it originally was, to be decoded."""
        if not self.is_redriven:
            return self.record
        timestamp = number_of(self.record, f"{ORIGINAL}timestamp")
        return Original(
            topic=self.origin.topic,
            partition=self.origin.partition,
            offset=self.origin.offset,
            timestamp=self.record.timestamp if timestamp is None else timestamp,
            timestamp_type=self.record.timestamp_type,
            key=self.record.key,
            value=self.record.value,
            headers=tuple(self.record.headers),
        )

    @property
    def links(self) -> tuple[Link, ...]:
        """The link of a re-driven record's process span to the one that failed (`link.type=retry_of`)."""
        failed = span_context({"traceparent": text_of(self.record, FAILED_SPAN) or ""}) if self.is_redriven else None
        return (Link(failed, {LINK_TYPE: semconv.LINK_RETRY_OF}),) if failed is not None else ()

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes that a re-driven record's process span has besides those of its topic."""
        if not self.is_redriven:
            return {}
        return {semconv.SAGATRACE_ORIGINAL_TOPIC: self.origin.topic, semconv.SAGATRACE_REDRIVES: self.redrives}

    @cached_property
    def _first(self) -> Place | None:
        return origin_of(self.record)
