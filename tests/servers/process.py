"""A server's process: in a group of its own, ready within a bound, ended within a bound, and ended with the tests.

Between the tests and the server is a lifeline (`lifeline.py`), so that the server ends even if the test run is killed.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.runs.slowness import is_within
from tests.servers import lifeline

READY_S = 60.0
_POLL_S = 0.05
_MARGIN_S = 10.0
_TAIL = 40


class ServerFailed(Exception):
    """A server ended or did not become ready; the message has the end of its log."""


def tail(log: Path, lines: int = _TAIL) -> str:
    """Read the end of a server's log, below a line that names it."""
    printed = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join([f"--- {log.stem}: {log}", *printed[-lines:]])


@dataclass
class ServerProcess:
    """One server program, which can be started again after it was stopped or killed.

    Args:
        name: its name in messages.
        command: the program and its arguments.
        log: the file for its output; later starts append.
        data: a folder of its own, which is removed if the test run is killed.
        user: the user and group to run as, or None for one's own.
        environment: its variables, on top of PATH, HOME and the like.
        stop_signal: asks it to end.
        grace_s: seconds until it is killed after that.
    """

    name: str
    command: Sequence[str]
    log: Path
    data: Path | None = None
    user: tuple[str, int] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 10.0
    pid: int | None = field(default=None, init=False)
    _lifeline: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    _printed_before: int = field(default=0, init=False)

    @property
    def is_running(self) -> bool:
        """Whether the server runs."""
        return self._lifeline is not None and self._lifeline.poll() is None

    def start(self, ready: Callable[[], bool], within_s: float = READY_S) -> None:
        """Start it and return once it is ready.

        Args:
            ready: returns whether it is ready; an OSError means not yet.
            within_s: seconds to wait.

        Raises:
            ServerFailed: it was not ready in time, or ended before.
        """
        assert not self.is_running, f"{self.name} runs already"
        self._spawn()
        try:
            self._wait(ready, within_s)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it and all processes of its group, within the grace period; do nothing if it does not run."""
        if self._lifeline is None:
            return
        assert self._lifeline.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._lifeline.stdin.write(lifeline.STOP)
            self._lifeline.stdin.close()
        self._reap()

    def kill(self) -> None:
        """End it as a crash does, with SIGKILL to its whole group; do nothing if it does not run."""
        if self._lifeline is None or self.pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._reap()

    def freeze(self) -> None:
        """Stop it from answering: connections are still accepted."""
        assert self.pid is not None
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it continue."""
        assert self.pid is not None
        os.killpg(self.pid, signal.SIGCONT)

    def tail(self, lines: int = _TAIL) -> str:
        """Read the end of its log."""
        return tail(self.log, lines)

    def has_printed(self, text: str) -> bool:
        """Return whether its log has a text since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._printed_before)
            return text.encode() in log.read()

    def __enter__(self) -> Self:
        """Hold it, started or not."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def _spawn(self) -> None:
        with self.log.open("ab") as sink:
            self._printed_before = sink.tell()
            self._lifeline = subprocess.Popen(
                [sys.executable, "-I", "-S", lifeline.__file__, self._asked()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                env={**_plain_environment(), **self.environment},
                start_new_session=True,
            )
        self.pid = self._read_pid()

    def _wait(self, ready: Callable[[], bool], within_s: float) -> None:
        began = time.monotonic()
        while not _answers(ready):
            if not self.is_running:
                raise ServerFailed(f"{self.name} ended before it was ready\n{self.tail()}")
            if not is_within(time.monotonic() - began, within_s):
                raise ServerFailed(f"{self.name} was not ready in {within_s:.0f} s\n{self.tail()}")
            time.sleep(_POLL_S)

    def _read_pid(self) -> int:
        assert self._lifeline is not None
        assert self._lifeline.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._lifeline.stdout, selectors.EVENT_READ)
            line = self._lifeline.stdout.readline() if selector.select(READY_S) else b""
        if not line:
            self.stop()
            raise ServerFailed(f"{self.name} did not start\n{self.tail()}")
        return int(line)

    def _asked(self) -> str:
        user, group = self.user or (None, None)
        return json.dumps(
            {
                "command": [str(word) for word in self.command],
                "user": user,
                "group": group,
                "grace_s": self.grace_s,
                "signal": int(self.stop_signal),
                "remove": None if self.data is None else str(self.data),
            },
        )

    def _reap(self) -> None:
        assert self._lifeline is not None
        try:
            self._lifeline.wait(self.grace_s + _MARGIN_S)
        except subprocess.TimeoutExpired:
            self._lifeline.kill()
            self._lifeline.wait()
        for stream in (self._lifeline.stdin, self._lifeline.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        self._lifeline = None


def _answers(ready: Callable[[], bool]) -> bool:
    try:
        return ready()
    except OSError:
        return False


def _plain_environment() -> dict[str, str]:
    kept = ("PATH", "HOME", "TMPDIR", "LANG", "JAVA_HOME", "TZ")
    return {name: os.environ[name] for name in kept if name in os.environ}
