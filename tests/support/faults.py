"""A broker of one's own that can be made silent, wake up again, and die."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.broker import _address, _end


class FaultyBroker:
    """The embedded broker in a child process, for one test.

    Args:
        child: The process.
        address: Its bootstrap address, `host:port`.
    """

    def __init__(self, child: subprocess.Popen[str], address: str) -> None:
        self._child = child
        self.address = address

    def freeze(self) -> None:
        """Let it say nothing more: connections are still taken, and nothing is answered."""
        self._child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on where it was."""
        self._child.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it: nobody listens at its address any more."""
        self._child.kill()
        self._child.wait(5)


@contextmanager
def faulty_broker() -> Iterator[FaultyBroker]:
    """Start a broker, and end it whatever became of it."""
    command = [sys.executable, "-m", "services.cli.embedded_broker"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    broker = FaultyBroker(child, _address(child))
    try:
        yield broker
    finally:
        if child.poll() is None:
            broker.thaw()
        _end(child)
