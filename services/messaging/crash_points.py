"""Crash points: a process can be told to kill itself right before or right after one of its durable writes.

What survives a crash is what had been written; what was about to be written is done again, or never was. So the places
at which a crash can tear work apart are the durable writes, and `Write` lists all of them: each transaction of each
service, each record that the broker acknowledges, each commit of offsets. A test kills every service at every one of
its writes, before and after, and looks at what is left of the work.

`SAGATRACE_CRASH_AT=outbox.send:after:3` is the third time that this process comes to the moment after the broker's
acknowledgement of a row; without the number it is the first. The process ends by SIGKILL: nothing is flushed, no
`finally` runs. Where the variable is not set, a point costs one look at a global.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Write(StrEnum):
    """Every durable write of the services."""

    MIGRATION = "migration"
    # the orchestrator
    ORDER_PLACED = "order.placed"
    ORDER_REQUEST = "order.request"
    REPLY = "reply"
    REPLY_PROGRESS = "reply.progress"
    TIMEOUT = "timeout"
    # the participants, and the gateway's own ledger
    STOCK = "stock"
    STOCK_DELAYED = "stock.delayed"
    GATEWAY_CHARGE = "gateway.charge"
    GATEWAY_REFUND = "gateway.refund"
    CHARGE = "charge"
    REFUND = "refund"
    # the groups that only listen
    TRAIL = "trail"
    NOTIFICATION = "notification"
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
    # what is kept long enough
    PRUNING = "pruning"


class Side(StrEnum):
    """On which side of a write."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True)
class CrashPoint:
    """A write, a side of it, and the how many-th time that the process comes there."""

    write: Write
    side: Side
    time: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `WRITE:SIDE` or `WRITE:SIDE:TIME`.

        Raises:
            ValueError: there is no such point; the text says which there are.
        """
        write, side, time, *_ = (*text.split(":", 2), "1", "")
        if write not in set(Write) or side not in set(Side) or not time.isdecimal() or int(time) < 1:
            raise ValueError(
                f"it is WRITE:before or WRITE:after, then :N if need be; WRITE is one of {', '.join(Write)}"
            )
        return cls(Write(write), Side(side), int(time))

    def __str__(self) -> str:
        """Write it as `parse` reads it."""
        return f"{self.write}:{self.side}:{self.time}"


class _Armed:
    """A crash point that this process will meet."""

    def __init__(self, point: CrashPoint) -> None:
        self._point = point
        self._left = point.time

    def reach(self, write: Write, side: Side) -> None:
        if (write, side) != (self._point.write, self._point.side):
            return
        self._left -= 1
        if self._left == 0:
            os.write(2, f'{{"event":"{CRASHED}","point":"{self._point}"}}\n'.encode())
            os.kill(os.getpid(), signal.SIGKILL)


CRASHED = "crash_point.reached"
"""The event that the process writes to standard error as its last."""

_armed: _Armed | None = None


def arm(point: CrashPoint | None) -> None:
    """Let this process end at a point; None lets it live."""
    global _armed  # noqa: PLW0603  it is the process that ends
    _armed = None if point is None else _Armed(point)


def before(write: Write | None) -> None:
    """Come to the moment before a write; None is a write that has no name here."""
    if _armed is not None and write is not None:
        _armed.reach(write, Side.BEFORE)


def after(write: Write | None) -> None:
    """Come to the moment after a write, when it is durable and nothing has been made of it yet."""
    if _armed is not None and write is not None:
        _armed.reach(write, Side.AFTER)
