"""Run all services, each in a process of its own, until a signal ends them or one of them dies."""

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

# How long the services may take to end; each has a shorter limit of its own.
_END_S = 30.0
_INTERVAL_S = 0.1

Processes = Mapping[Service, subprocess.Popen[bytes]]


def run_all() -> None:
    """Run every service, with this process's environment and output, until SIGTERM or Ctrl-C.

    Raises:
        CannotRun: a service ended by itself; the others were then stopped.
    """
    signals: list[int] = []
    with tempfile.TemporaryDirectory(prefix="sagatrace-", ignore_cleanup_errors=True) as scratch:
        processes = {service: _start(service, Path(scratch) / service) for service in Service}
        try:
            with _forward_signals(processes, signals):
                dead = _watch(processes, signals)
                _end(processes)
        finally:
            _kill(processes)
    if dead is not None:
        service, code = dead
        raise CannotRun(f"{service} ended (exit code {code}), and the others with it: its lines above say why")


def _watch(processes: Processes, signals: list[int]) -> tuple[Service, int] | None:
    """Wait for a signal, or for a service to die; then stop the others, and return that service with its exit code."""
    while not signals:
        for service, process in processes.items():
            if not signals and (code := process.poll()) is not None:
                _terminate(processes)
                return service, code
        time.sleep(_INTERVAL_S)
    return None


def _start(service: Service, folder: Path) -> subprocess.Popen[bytes]:
    """Start a service that ends if this process is killed; Ctrl-C on the terminal reaches only this process."""
    folder.mkdir()
    command = [sys.executable, "-P", "-m", "services.cli.lifeline", str(folder), "run", service]
    return subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0)  # noqa: S603  this project's own module


@contextmanager
def _forward_signals(processes: Processes, signals: list[int]) -> Iterator[None]:
    """Pass each SIGTERM and SIGINT on as a SIGTERM: the second one makes a service end at once."""

    def pass_on(number: int, _: object) -> None:
        signals.append(number)
        _terminate(processes)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminate(processes: Processes) -> None:
    """Send SIGTERM to every service."""
    for process in processes.values():
        process.terminate()


def _end(processes: Processes) -> None:
    """Wait for the services to end."""
    deadline = time.monotonic() + _END_S
    for process in processes.values():
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))


def _kill(processes: Processes) -> None:
    """Kill the services that are still running, and close the lifelines."""
    for process in processes.values():
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
