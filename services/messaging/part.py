"""A part of a service: what the runtime starts, runs and stops."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Part(ABC):
    """Work that goes on from the start of a service to its stop."""

    async def start(self) -> None:  # noqa: B027  most parts have nothing to do here
        """Begin, and return once the part works; most parts work as soon as they run."""

    @abstractmethod
    async def run(self) -> None:
        """Work until `stop`."""

    @abstractmethod
    async def stop(self) -> None:
        """Ask the work to end; what has begun is finished first."""
