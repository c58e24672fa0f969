"""The services as processes that are killed and started again, each with the same name and the same data."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from services.cli.run import Service
from services.cli.settings import environment_of
from services.messaging.crash_points import CRASHED, CrashPoint
from tests.chaos.points import WRITES

READY = "service.ready"
"""What a service logs when it works."""

READY_S = 90.0
"""How long it may take until then, in seconds, on a machine that has much else to do."""


class Process(Protocol):
    """What runs a service."""

    def has_ended(self) -> bool:
        """Return whether it has ended."""

    def send(self, number: signal.Signals | int) -> None:
        """Send a signal; a ProcessLookupError means that it has ended."""

    def close(self) -> None:
        """Release what is held of it, once it has ended."""


class Start(Protocol):
    """Starts a service in a process of its own; what it writes is appended to the log."""

    def __call__(self, service: Service, environment: Mapping[str, str], log: Path) -> Process:
        """Start it."""


class Spawned:
    """A service as a user starts it: `sagatrace run SERVICE`, tied to this process by a lifeline."""

    def __init__(self, service: Service, environment: Mapping[str, str], log: Path) -> None:
        scratch = log.parent / f"{log.stem}.scratch" / "own"
        scratch.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "services.cli.lifeline", str(scratch), "run", service],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                process_group=0,
            )

    def has_ended(self) -> bool:
        """Return whether it has ended."""
        return self._process.poll() is not None

    def send(self, number: signal.Signals | int) -> None:
        """Send a signal; do nothing if it has ended."""
        self._process.send_signal(number)

    def close(self) -> None:
        """Release what is held of it."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(100)


@dataclass
class Instance:
    """One instance of a service, over all its processes.

    Args:
        service: Which one.
        number: Which instance of it.
        variables: The environment of all its processes.
        log: The file that all its processes write to.
        start_process: How a process is started.
    """

    service: Service
    number: int
    variables: Mapping[str, str]
    log: Path
    start_process: Start
    process: Process | None = None
    #: Where in the log the present process begins.
    _begins: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"{self.service}-{self.number}"

    def has_ended(self) -> bool:
        """Return whether it has no process."""
        return self.process is None or self.process.has_ended()

    def start(self, crash_at: CrashPoint | None = None, variables: Mapping[str, str] | None = None) -> None:
        """Start a process, which ends at a crash point if one is given."""
        self.let_go()
        self.log.touch()
        self._begins = self.log.stat().st_size
        point = {"SAGATRACE_CRASH_AT": str(crash_at)} if crash_at else {}
        environment = environment_of({**self.variables, **(variables or {}), **point})
        self.process = self.start_process(self.service, environment, self.log)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to its process, if it has one."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.send(number)

    def let_go(self) -> None:
        """Release a process that has ended."""
        process, self.process = self.process, None
        if process is not None:
            process.close()

    def has_said(self, event: str) -> bool:
        """Return whether the current process has logged an event."""
        return f'"{event}"' in self.output()

    def crashed_at(self) -> CrashPoint | None:
        """Return the crash point at which the current process ended, if it did at one."""
        for line in self.output().splitlines():
            if f'"{CRASHED}"' in line:
                return CrashPoint.parse(json.loads(line)["point"], WRITES[self.service])
        return None

    def output(self) -> str:
        """Read what the current process has written."""
        with self.log.open("rb") as log:
            log.seek(self._begins)
            return log.read().decode(errors="replace")


def errors_in(instances: Sequence[Instance]) -> Iterator[str]:
    """Return the lines in which processes report an error that ended them."""
    for instance in instances:
        for line in instance.log.read_text(errors="replace").splitlines():
            if not line.startswith("{") and line.strip():
                yield f"{instance.name}: {line}"
