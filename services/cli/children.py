"""Child processes: each has its own process group and log, and a lifeline that ends it if this process dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from services.cli.errors import CannotRun

END_S = 1.7
"""How long all children together may take to end by themselves, in seconds; then they are killed."""

HURRY_S = 0.7
"""The same limit after an error or an interrupt, in seconds."""

_FIRST_CHILD_S = 0.2
_INTERVAL_S = 0.05


@dataclass(frozen=True)
class Child:
    """A started process."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[str]:
        """Return what it has written so far, complete lines only."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return text.split("\n")[:-1]

    def has_logged(self, event: str) -> bool:
        """Return whether it has logged an event."""
        return any(_event(line) == event for line in self.lines())

    def last_line(self) -> str:
        """Return the last line that it wrote; of a JSON line, only its event."""
        lines = [line for line in self.lines() if line.strip()]
        return _event(lines[-1]) if lines else "it wrote nothing"


class Children:
    """Starts processes, and ends all of them on exit, whatever happens.

    Args:
        logs: The folder for their logs.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[Child] = []

    def start(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start a module of this project (`python -m`), in a process group of its own.

        Its standard input is its lifeline; its output goes to its log.
        """
        log = self._logs / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  this interpreter, and arguments of this project
                [sys.executable, "-P", "-m", *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                process_group=0,
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    def wait_for(self, child: Child, condition: Callable[[], bool], timeout_s: float) -> None:
        """Wait until a condition about a child is true.

        Raises:
            CannotRun: a child ended, or the time is up; the text names the log.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise CannotRun(f"{child.name} is not ready after {timeout_s:g} s: see {child.log}")
            time.sleep(_INTERVAL_S)

    def check(self) -> None:
        """Check that all are alive.

        Raises:
            CannotRun: a child ended; the text has its last line and its log.
        """
        for child in self._children:
            if (code := child.process.poll()) is not None:
                raise CannotRun(f"{child.name} ended (exit code {code}): {child.last_line()}: see {child.log}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        """End all children, the first one last because the others need it; kill those that take too long."""
        deadline = time.monotonic() + (HURRY_S if kind else END_S)
        needed, others = self._children[:1], self._children[1:]
        _end(others, deadline - _FIRST_CHILD_S)
        _end(needed, deadline)


def _end(children: Sequence[Child], deadline: float) -> None:
    """Send SIGTERM to some children, and kill those that have not ended at the deadline."""
    for child in children:
        child.process.terminate()
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.0, deadline - time.monotonic()))
    for child in children:
        if child.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()
        if child.process.stdin is not None:
            child.process.stdin.close()


def _event(line: str) -> str:
    """Return the event of a JSON line, or the line itself."""
    try:
        record = json.loads(line)
    except ValueError:
        return line
    return str(record.get("event", line)) if isinstance(record, dict) else line
