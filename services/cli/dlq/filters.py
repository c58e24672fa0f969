"""Which dead letters a command is for: those that match every filter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.cli.dlq.reader import MessageSummary
from services.cli.errors import CannotRun
from services.messaging.dead_letters import DeadLetter

_OFFSET = re.compile(r"(\d{1,10}):(\d{1,19})")


@dataclass(frozen=True)
class DeadLetterFilter:
    """A filter for dead letters; an empty or None field matches all of them.

    Args:
        errors: Parts of the error's class name, such as `Undecodable`.
        types: Event types.
        keys: Keys, as text.
        offsets: (partition, offset) in the dead-letter topic.
        since: Failed at this time or later.
        until: Failed before this time.
    """

    errors: Sequence[str] = ()
    types: Sequence[str] = ()
    keys: Sequence[str] = ()
    offsets: Sequence[tuple[int, int]] = ()
    since: datetime | None = None
    until: datetime | None = None

    def __call__(self, dead_letter: DeadLetter, summary: MessageSummary) -> bool:
        """Return whether a dead letter matches."""
        at, failed_at = dead_letter.at, dead_letter.failed_at
        return (
            (not self.errors or any(error in (dead_letter.error_type or "") for error in self.errors))
            and (not self.types or summary.event_type in self.types)
            and (not self.keys or dead_letter.key in {key.encode() for key in self.keys})
            and (not self.offsets or (at.partition, at.offset) in self.offsets)
            and (self.since is None or (failed_at is not None and failed_at >= self.since))
            and (self.until is None or (failed_at is not None and failed_at < self.until))
        )

    @property
    def matches_everything(self) -> bool:
        """Whether no filter is set."""
        return not any((self.errors, self.types, self.keys, self.offsets, self.since, self.until))


def parse_offset(text: str) -> tuple[int, int]:
    """Parse `partition:offset`.

    Raises:
        CannotRun: the text has another form.
    """
    match = _OFFSET.fullmatch(text)
    if match is None:
        raise CannotRun(f"a place in the dead-letter topic is PARTITION:OFFSET, such as 0:17, not {text!r}")
    return int(match[1]), int(match[2])


def ago(seconds: float) -> datetime:
    """Return the time that many seconds ago."""
    return datetime.now(UTC) - timedelta(seconds=seconds)
