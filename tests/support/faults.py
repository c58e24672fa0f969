"""A broker for one test, which can be made to fail, to fall silent, to wake up again, and to die."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class Api(IntEnum):
    """Kinds of requests, by the protocol's numbers."""

    PRODUCE = 0
    FETCH = 1
    OFFSET_COMMIT = 8
    JOIN_GROUP = 11
    HEARTBEAT = 12


class Code(IntEnum):
    """Error codes of the protocol."""

    MESSAGE_TOO_LARGE = 10
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_ENOUGH_REPLICAS = 19
    TOPIC_AUTHORIZATION_FAILED = 29
    GROUP_AUTHORIZATION_FAILED = 30
    REBALANCE_IN_PROGRESS = 27
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45


class FaultyBroker:
    """A mock cluster in a child process, for one test; a group is joined at once, by one member.

    Args:
        child: The process.
    """

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self.address = self._answer()

    def fail(self, api: Api, code: Code, count: int = 1) -> None:
        """Make it answer the next requests of a kind with an error."""
        assert self._child.stdin is not None
        print("errors", int(api), int(code), count, file=self._child.stdin, flush=True)
        assert self._answer() == "ok"

    def freeze(self) -> None:
        """Stop it from answering: connections are still accepted."""
        self._child.send_signal(signal.SIGSTOP)
        # Its threads may answer until all have stopped.
        os.waitpid(self._child.pid, os.WUNTRACED)

    def thaw(self) -> None:
        """Let it continue."""
        self._child.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it: nothing listens at its address any more."""
        self._child.kill()
        self._child.wait(50)

    def end(self) -> None:
        """End it, in whatever state it is."""
        self._child.send_signal(signal.SIGKILL)
        with self._child:
            pass

    def _answer(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline().strip()


@contextmanager
def faulty_broker() -> Iterator[FaultyBroker]:
    """Start a broker, and end it in whatever state it is."""
    command = [sys.executable, "-m", "tests.support.mock_cluster"]
    broker = FaultyBroker(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    try:
        yield broker
    finally:
        broker.end()
