"""The processes of a benchmark: servers that live as long as the run, and one worker for each measurement."""

from __future__ import annotations

import importlib.util
import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

_START_S: Final = 20.0
_STOP_S: Final = 5.0
#: Seconds that a worker may take for all its workloads.
_WORKER_S: Final = 300.0
#: The last lines of a failed worker's standard error that go into the message.
_LAST_LINES: Final = 12


class Failed(RuntimeError):
    """A part of the benchmark failed; the message says which and why."""


@contextmanager
def broker() -> Iterator[str]:
    """Run the embedded broker and yield its bootstrap address.

    Raises:
        Failed: it did not start, or the extra `demo` is missing.
    """
    if importlib.util.find_spec("confluent_kafka") is None:
        raise Failed("the benchmark needs the embedded broker: pip install 'sagatrace-services[demo]'")
    with _server("services.cli.embedded_broker") as address:
        yield address


@contextmanager
def sink() -> Iterator[str]:
    """Run the OTLP receiver and yield its base URL."""
    with _server("benchmarks.sink") as address:
        yield address


@contextmanager
def _server(module: str) -> Iterator[str]:
    """Run a module that prints its address and runs until its standard input closes; yield the address."""
    child = subprocess.Popen(  # noqa: S603 - a module of this project
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for this process, which then closes the input
    )
    try:
        yield _address(child, module)
    finally:
        _end(child)


def _address(child: subprocess.Popen[str], module: str) -> str:
    assert child.stdout is not None  # noqa: S101 - it was asked for
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        ready = selector.select(_START_S)
    address = child.stdout.readline().strip() if ready else ""
    if not address:
        raise Failed(f"{module} printed no address within {_START_S:.0f} s (exit code {child.poll()})")
    return address


def _end(child: subprocess.Popen[str]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
    try:
        child.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(_STOP_S)


def work(module: str, arguments: Sequence[str]) -> Any:  # noqa: ANN401 - JSON
    """Run a module to its end and return the JSON that it printed.

    It does not get the caller's OTEL_* variables, which would change what is measured.

    Raises:
        Failed: it failed or took too long; the message ends with its last lines of standard error.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    try:
        done = subprocess.run(  # noqa: S603 - a module of this project
            [sys.executable, "-m", module, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_WORKER_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{module} took longer than {_WORKER_S:.0f} s") from error
    if done.returncode or not done.stdout:
        last = "\n".join(done.stderr.splitlines()[-_LAST_LINES:])
        raise Failed(f"{module} {' '.join(arguments)} failed with exit code {done.returncode}\n{last}")
    return json.loads(done.stdout)
