"""What all servers have in common: they run for a block, on free ports, and can be taken away and brought back."""

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
        """All its processes, in the order of their start."""
        return (self.process,)

    @abstractmethod
    def is_ready(self) -> bool:
        """Say whether it takes clients; an OSError means no."""

    def start(self) -> None:
        """Start it and return when it takes clients.

        Raises:
            ServerFailed: it did not within 60 seconds.
        """
        self.process.start(self.is_ready)

    def stop(self) -> None:
        """Let it end in order, within 10 seconds."""
        self.process.stop()

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()

    def freeze(self) -> None:
        """Let it be silent, as if cut off, until `thaw`; one that forks goes on in its children."""
        self.process.freeze()

    def thaw(self) -> None:
        """Let it go on where it was."""
        self.process.thaw()

    def discard(self) -> None:
        """End all its processes for good, the last one first."""
        for process in reversed(self.processes):
            process.stop()


S = TypeVar("S", bound=Server)


@contextmanager
def running(count: int, make: Callable[[list[int]], S]) -> Iterator[S]:
    """Run a server for the length of the block, on other ports when somebody took one in between.

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
