"""The demo's child processes: each in a group of its own, tied to this process by a lifeline, with a log of its own."""

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
"""What all children together have to end by themselves, in seconds; then they are killed."""

HURRY_S = 0.7
"""The same after an error or an interrupt."""

_LAST_S = 0.2
_INTERVAL_S = 0.05


@dataclass(frozen=True)
class Child:
    """A process that was started."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[str]:
        """Read what it has written so far, whole lines only."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return text.split("\n")[:-1]

    def said(self, event: str) -> bool:
        """Tell whether it has logged an event."""
        return any(_event(line) == event for line in self.lines())

    def last_words(self) -> str:
        """Give the last line that it wrote; a JSON line's event and error."""
        words = [line for line in self.lines() if line.strip()]
        return _event(words[-1]) if words else "it wrote nothing"


class Children:
    """Starts processes, and ends all of them when it is left, whatever happens.

    Args:
        logs: The folder of their logs.
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
            CannotRun: a child ended, or the time is over; the text names the log.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise CannotRun(f"{child.name} is not ready after {timeout_s:g} s: see {child.log}")
            time.sleep(_INTERVAL_S)

    def check(self) -> None:
        """Look whether all are alive.

        Raises:
            CannotRun: a child ended; the text has its last words and its log.
        """
        for child in self._children:
            if (code := child.process.poll()) is not None:
                raise CannotRun(f"{child.name} ended (exit code {code}): {child.last_words()}: see {child.log}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        """Ask all to end, the first one, which the others need, at last; kill what has not ended in time."""
        deadline = time.monotonic() + (HURRY_S if kind else END_S)
        needed, others = self._children[:1], self._children[1:]
        _end(others, deadline - _LAST_S)
        _end(needed, deadline)


def _end(children: Sequence[Child], deadline: float) -> None:
    """Ask some children to end, and kill those that have not at the deadline."""
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
    """Give the event of a line of JSON, or the line itself."""
    try:
        record = json.loads(line)
    except ValueError:
        return line
    return str(record.get("event", line)) if isinstance(record, dict) else line
