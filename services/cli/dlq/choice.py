"""Which dead letters are meant: every filter that is given must hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.cli.dlq.reader import About
from services.cli.errors import CannotRun
from services.messaging.dead_letters import DeadLetter

_OFFSET = re.compile(r"(\d{1,10}):(\d{1,19})")


@dataclass(frozen=True)
class Choice:
    """A choice of letters; what is empty or None chooses all.

    Args:
        errors: Parts of the error's class, such as `Undecodable`.
        types: Event types.
        keys: Keys, as text.
        offsets: (partition, offset) in the dead-letter topic.
        since: Failed at this moment or later.
        until: Failed before this moment.
    """

    errors: Sequence[str] = ()
    types: Sequence[str] = ()
    keys: Sequence[str] = ()
    offsets: Sequence[tuple[int, int]] = ()
    since: datetime | None = None
    until: datetime | None = None

    def __call__(self, letter: DeadLetter, about: About) -> bool:
        """Tell whether a letter is meant."""
        return (
            (not self.errors or any(error in (letter.error_type or "") for error in self.errors))
            and (not self.types or about.event_type in self.types)
            and (not self.keys or letter.key in {key.encode() for key in self.keys})
            and (not self.offsets or (letter.at.partition, letter.at.offset) in self.offsets)
            and (self.since is None or (letter.failed_at is not None and letter.failed_at >= self.since))
            and (self.until is None or (letter.failed_at is not None and letter.failed_at < self.until))
        )

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return not any((self.errors, self.types, self.keys, self.offsets, self.since, self.until))


def offset(text: str) -> tuple[int, int]:
    """Read `partition:offset`.

    Raises:
        CannotRun: it is none.
    """
    read = _OFFSET.fullmatch(text)
    if read is None:
        raise CannotRun(f"a place in the dead-letter topic is PARTITION:OFFSET, such as 0:17, not {text!r}")
    return int(read[1]), int(read[2])


def ago(seconds: float) -> datetime:
    """Tell the moment so many seconds ago."""
    return datetime.now(UTC) - timedelta(seconds=seconds)
