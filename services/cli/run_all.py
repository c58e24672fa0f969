"""Runs all services, each in a process of its own, until a signal ends them or one of them dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from services.cli.errors import CannotRun
from services.cli.run import Service

# What the services may take to end; each has a budget of its own for that, which is shorter.
_END_S = 30.0
_LOOK_S = 0.1

Processes = Mapping[Service, subprocess.Popen[bytes]]


def run_all() -> None:
    """Run every service, with this process's environment and output, until SIGTERM or Ctrl-C.

    Raises:
        CannotRun: a service ended although nobody had asked it to; the others were ended then.
    """
    asked: list[int] = []
    with tempfile.TemporaryDirectory(prefix="sagatrace-", ignore_cleanup_errors=True) as scratch:
        processes = {service: _start(service, Path(scratch) / service) for service in Service}
        try:
            with _signals(processes, asked):
                dead = _watch(processes, asked)
                _end(processes)
        finally:
            _kill(processes)
    if dead is not None:
        service, code = dead
        raise CannotRun(f"{service} ended (exit code {code}), and the others with it: its lines above say why")


def _watch(processes: Processes, asked: list[int]) -> tuple[Service, int] | None:
    """Wait for a signal, or for a service that dies: then ask the others to end, and name it."""
    while not asked:
        for service, process in processes.items():
            if not asked and (code := process.poll()) is not None:
                _ask(processes)
                return service, code
        time.sleep(_LOOK_S)
    return None


def _start(service: Service, folder: Path) -> subprocess.Popen[bytes]:
    """Start a service that ends if this process is killed; a Ctrl-C of the terminal reaches this process alone."""
    folder.mkdir()
    command = [sys.executable, "-P", "-m", "services.cli.lifeline", str(folder), "run", service]
    return subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0)  # noqa: S603  this project's own


@contextmanager
def _signals(processes: Processes, asked: list[int]) -> Iterator[None]:
    """Pass each SIGTERM and SIGINT on as a SIGTERM: the second one makes a service end at once."""

    def pass_on(number: int, _: object) -> None:
        asked.append(number)
        _ask(processes)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ask(processes: Processes) -> None:
    """Ask all to end."""
    for process in processes.values():
        process.terminate()


def _end(processes: Processes) -> None:
    """Wait for the services to end."""
    deadline = time.monotonic() + _END_S
    for process in processes.values():
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))


def _kill(processes: Processes) -> None:
    """End whatever is left, and close the lifelines."""
    for process in processes.values():
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
