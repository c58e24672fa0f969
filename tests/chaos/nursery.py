"""Forks service processes from one that has imported everything, so that a start does not cost a second of imports.

Each child is a whole process: it configures itself from its own environment, opens its own connections, and is killed
like any other. The parent of all, this module as a program, has no event loop, no thread and no connection; it reads
one request a line, `{"service", "environment", "log"}`, and answers with the child's process id. When its standard
input ends, it ends, and every child with it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Self

from services.cli.run import Service, run

_PR_SET_PDEATHSIG = 1


class Forked:
    """A process that is not this one's child, held by a descriptor: its id can't come to mean another process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def has_ended(self) -> bool:
        """Return whether it has ended."""
        try:
            self.send(0)
        except ProcessLookupError:
            return True
        return False

    def send(self, number: signal.Signals | int) -> None:
        """Send a signal.

        Raises:
            ProcessLookupError: it has ended.
        """
        signal.pidfd_send_signal(self._descriptor, number)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


class Nursery:
    """Starts services while it is entered; they end with it."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(100)
        self._process.stdout.close()

    def start(self, service: Service, environment: Mapping[str, str], log: Path) -> Forked:
        """Start a service; what it writes is appended to its log.

        Raises:
            RuntimeError: the nursery has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"service": service, "environment": dict(environment), "log": str(log)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the nursery ended with {self._process.wait(100)}")
        return Forked(int(answer))


def main() -> None:
    """Import what the services need, and fork one for each request."""
    for service in Service:
        import_module(f"services.{service}.main")
    # An interrupt from the terminal is for whoever started this; a service has a group of its own.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Children that end leave nothing behind.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(request)
        print(pid, flush=True)


def _become(request: dict[str, object]) -> None:
    """Run a service in a child that has just been forked, and exit with it."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setpgid(0, 0)
        sink = os.open(str(request["log"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        for descriptor, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, sink), (2, sink)):
            os.dup2(source, descriptor)
        os.environ.clear()
        os.environ.update(request["environment"])  # type: ignore[call-overload]
        run(Service(str(request["service"])))
        code = 0
    except BaseException as error:  # noqa: BLE001  the child must not go on as another nursery
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
