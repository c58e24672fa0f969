"""What all servers have in common: they run for a block, on free ports, and can be stopped and started again."""

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from tests.servers.ports import free_ports
from tests.servers.process import ServerFailed, ServerProcess

_ATTEMPTS = 3
_TAKEN = (os.strerror(errno.EADDRINUSE).lower(), "bindexception")


@dataclass(kw_only=True)
class Server(ABC):
    """A server that keeps its address and its data over `stop`, `kill` and `start`.

    Args:
        process: its process.
    """

    process: ServerProcess

    @property
    def processes(self) -> tuple[ServerProcess, ...]:
        """All its processes, in the order in which they start."""
        return (self.process,)

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether it accepts clients; an OSError means no."""

    def start(self) -> None:
        """Start it and return once it accepts clients.

        Raises:
            ServerFailed: it did not within 60 seconds.
        """
        self.process.start(self.is_ready)

    def stop(self) -> None:
        """Shut it down in order, within 10 seconds."""
        self.process.stop()

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()

    def freeze(self) -> None:
        """Stop it from answering, as if cut off, until `thaw`; the children of one that forks continue."""
        self.process.freeze()

    def thaw(self) -> None:
        """Let it continue."""
        self.process.thaw()

    def discard(self) -> None:
        """End all its processes for good, the last one first."""
        for process in reversed(self.processes):
            process.stop()


S = TypeVar("S", bound=Server)


@contextmanager
def running(count: int, make: Callable[[list[int]], S]) -> Iterator[S]:
    """Run a server for the length of the block, on other ports if one was taken in between.

    Args:
        count: how many ports it needs.
        make: configures it for these ports.

    Raises:
        ServerFailed: it did not start.
    """
    server = _started(count, make)
    try:
        yield server
    finally:
        server.discard()


def _started(count: int, make: Callable[[list[int]], S]) -> S:
    for attempt in range(1, _ATTEMPTS + 1):
        server = make(free_ports(count))
        try:
            server.start()
        except ServerFailed as failure:
            server.discard()
            if attempt == _ATTEMPTS or not any(sign in str(failure).lower() for sign in _TAKEN):
                raise
        else:
            return server
    raise AssertionError("the last attempt returns or raises")
