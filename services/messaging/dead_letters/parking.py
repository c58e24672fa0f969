"""What a delivery asks of the group's dead letters: where a record stands, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from services.contracts import Message
from services.messaging.dead_letters.headers import DeadLetterState, Place


@dataclass(frozen=True)
class Standing:
    """Where a record stands: already done with, behind another one of its key, or free."""

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
    #: What it says, if it can be read.
    message: Message | None


class Ledger(Protocol):
    """Which records are dead letters, and which keys wait for them."""

    def forget(self) -> None:
        """Other partitions were assigned."""

    async def standing(self, key: bytes | None, origin: Place, *, redriven: bool) -> Standing:
        """Tell whether a record may be handled now."""

    async def bury(self, burial: Burial) -> None:
        """Note a dead letter."""

    async def close(self, origin: Place) -> None:
        """Note that a dead letter was processed after all."""


class NoLedger:
    """The ledger of a consumer without a database: no key is ever parked."""

    def forget(self) -> None:
        """Know nothing."""

    async def standing(self, key: bytes | None, origin: Place, *, redriven: bool) -> Standing:  # noqa: ARG002
        """Let every record be handled."""
        return FREE

    async def bury(self, burial: Burial) -> None:
        """Note nothing."""

    async def close(self, origin: Place) -> None:
        """Note nothing."""
