"""A background loop: the same turn again and again, at once while there is work, else when woken or at an interval.

A database or broker that is away does not end the loop: it waits, longer each time, and goes on. Any other exception
does, and the runtime then stops the process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from services.messaging.errors import Unavailable
from services.messaging.part import Part

# How long to wait for what is away, in seconds: doubled each time, from the first to the longest.
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 10.0


class Loop(Part):
    """Calls `turn` until it is stopped.

    Args:
        name: Its name in the logs.
        turn: One round of work; True if there may be more at once.
        interval_s: The wait after a turn without work, in seconds.
        wake: An event that ends a wait early; the loop clears it before each turn.
        share: The largest share of the time that turns may take: after a slow one the wait is longer than the interval.
    """

    def __init__(
        self,
        name: str,
        turn: Callable[[], Awaitable[bool]],
        *,
        interval_s: float,
        wake: asyncio.Event | None = None,
        share: float = 1.0,
    ) -> None:
        self.name = name
        self.wake = wake or asyncio.Event()
        self._turn = turn
        self._interval_s = interval_s
        self._rest = 1.0 / share - 1.0
        self._stopping = False
        self._failures = 0
        #: Why the last turn failed; None if it did not.
        self.trouble: str | None = None
        self._log = structlog.get_logger(__name__)

    async def run(self) -> None:
        """Work until `stop`; a turn that has begun is finished first."""
        while not self._stopping:
            self.wake.clear()
            wait_s = await self._turn_once()
            if wait_s and not self._stopping:
                await self._pause(wait_s)

    async def stop(self) -> None:
        """Ask the loop to end after its current turn."""
        self._stopping = True
        self.wake.set()

    async def _turn_once(self) -> float:
        """Take one turn, and return how long to wait after it, in seconds."""
        began = time.monotonic()
        try:
            more = await self._turn()
        except Unavailable as error:
            self._failures += 1
            self.trouble = str(error)
            if self._failures == 1:
                self._log.warning("loop.unavailable", loop=self.name, reason=str(error))
            return min(_FIRST_WAIT_S * 2.0 ** min(self._failures, 32), _LONGEST_WAIT_S)
        if self._failures:
            self._log.info("loop.available", loop=self.name, failures=self._failures)
            self._failures = 0
            self.trouble = None
        return 0.0 if more else max(self._interval_s, self._rest * (time.monotonic() - began))

    async def _pause(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self.wake.wait()
        except TimeoutError:
            return
