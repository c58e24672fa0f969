"""Crash points: a process can be told to kill itself right before or right after one of its durable writes.

What survives a crash is what had been written; what was about to be written is done again, or never was. So the places
at which a crash can tear work apart are the durable writes: each transaction of each service, each record that the
broker acknowledges, each commit of offsets. Those of this package are in `Write`, those of a service in its `writes`. A
test kills every service at every one of its writes, before and after, and looks at what is left of the work.

`SAGATRACE_CRASH_AT=outbox.send:after:3` is the third time that this process reaches the moment after the broker's
acknowledgement of a row; without the number it is the first. The process ends by SIGKILL: nothing is flushed, no
`finally` runs. Where the variable is not set, a point costs one look at a global.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Write(StrEnum):
    """Every durable write that all services have; each service has an enumeration of its own writes besides."""

    MIGRATION = "migration"
    # the relay
    OUTBOX_CLAIM = "outbox.claim"
    OUTBOX_RENEW = "outbox.renew"
    OUTBOX_SEND = "outbox.send"
    OUTBOX_SETTLE = "outbox.settle"
    OUTBOX_RELEASE = "outbox.release"
    # the consumer
    OFFSETS = "offsets"
    DEAD_LETTER = "dead_letter"
    DEAD_LETTER_ROW = "dead_letter.row"
    DEAD_LETTER_CLOSED = "dead_letter.closed"
    BREAKER_TRIPPED = "breaker.tripped"
    BREAKER_CLOSED = "breaker.closed"
    # an operator
    REDRIVE_BEGUN = "redrive.begun"
    REDRIVE_TAKEN_BACK = "redrive.taken_back"
    DISCARD = "discard"
    RESUME = "resume"
    SKIP = "skip"
    # what is kept long enough
    PRUNING = "pruning"


class Side(StrEnum):
    """The side of a write on which the process ends."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True)
class CrashPoint:
    """A write, a side of it, and which time counts when the process reaches it more than once, from 1."""

    write: str
    side: Side
    time: int = 1

    @classmethod
    def parse(cls, text: str, writes: Iterable[str] = ()) -> Self:
        """Read `WRITE:SIDE` or `WRITE:SIDE:TIME`.

        Args:
            text: What is read.
            writes: The names of a service's own writes; those of `Write` are always known.

        Raises:
            ValueError: there is no such point; the text lists the writes.
        """
        known = [*Write, *writes]
        write, side, time, *_ = (*text.split(":", 2), "1", "")
        if write not in known or side not in set(Side) or not time.isdecimal() or int(time) < 1:
            raise ValueError(
                f"it is WRITE:before or WRITE:after, then :N if need be; WRITE is one of {', '.join(known)}"
            )
        return cls(write, Side(side), int(time))

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f"{self.write}:{self.side}:{self.time}"


class _Armed:
    """The crash point of this process, and how often it has still to be reached."""

    def __init__(self, point: CrashPoint) -> None:
        self._point = point
        self._left = point.time

    def reach(self, write: StrEnum, side: Side) -> None:
        if (write, side) != (self._point.write, self._point.side):
            return
        self._left -= 1
        if self._left == 0:
            os.write(2, f'{{"event":"{CRASHED}","point":"{self._point}"}}\n'.encode())
            os.kill(os.getpid(), signal.SIGKILL)


CRASHED = "crash_point.reached"
"""The event that the process writes to standard error last of all."""

_armed: _Armed | None = None


def arm(point: CrashPoint | None) -> None:
    """Let this process kill itself at a point; None lets it live."""
    global _armed  # noqa: PLW0603  it is the process that ends
    _armed = None if point is None else _Armed(point)


def before(write: StrEnum | None) -> None:
    """Reach the moment before a write; None is a write without a name."""
    if _armed is not None and write is not None:
        _armed.reach(write, Side.BEFORE)


def after(write: StrEnum | None) -> None:
    """Reach the moment after a write, when it is durable and nothing has been done with it yet."""
    if _armed is not None and write is not None:
        _armed.reach(write, Side.AFTER)
