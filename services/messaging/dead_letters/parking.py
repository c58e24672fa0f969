"""What a delivery asks of the group's dead letters, and what it reports to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from services.contracts import Message
from services.messaging.dead_letters.headers import DeadLetterState, Place


@dataclass(frozen=True)
class Standing:
    """Whether a record may be handled: it is already done, waits behind another one of its key, or is free."""

    is_done: bool = False
    behind: Place | None = None


FREE = Standing()


@dataclass(frozen=True)
class Burial:
    """A record that was written to the dead letters."""

    key: bytes | None
    origin: Place
    state: DeadLetterState
    error_type: str
    redrives: int
    #: The message, if the record can be read.
    message: Message | None


class Ledger(Protocol):
    """Which records are dead letters, and which keys wait for them."""

    def forget(self) -> None:
        """Take note that other partitions were assigned."""

    async def standing(self, key: bytes | None, origin: Place, *, redriven: bool) -> Standing:
        """Return whether a record may be handled now."""

    async def is_skipped(self, place: Place) -> bool:
        """Return whether an operator lets the group pass a record by that it can't read."""

    async def bury(self, burial: Burial) -> None:
        """Record a dead letter."""

    async def close(self, origin: Place) -> None:
        """Record that a dead letter was processed after all."""


class NoLedger:
    """The ledger of a consumer without a database: no key is ever parked."""

    def forget(self) -> None:
        """Do nothing."""

    async def standing(self, key: bytes | None, origin: Place, *, redriven: bool) -> Standing:  # noqa: ARG002
        """Return that every record may be handled."""
        return FREE

    async def is_skipped(self, place: Place) -> bool:  # noqa: ARG002
        """Return that no record is passed by."""
        return False

    async def bury(self, burial: Burial) -> None:
        """Do nothing."""

    async def close(self, origin: Place) -> None:
        """Do nothing."""
