"""The embedded broker as a child process, for as long as a test session needs it."""

import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_START_S = 20.0
_STOP_S = 5.0


@contextmanager
def embedded_broker() -> Iterator[str]:
    """Start the broker, yield its bootstrap address (`host:port`), and end it.

    The child lives until its standard input closes, so it ends even when this process is killed.

    Raises:
        RuntimeError: the broker printed no address in time, or died.
    """
    command = [sys.executable, "-m", "services.cli.embedded_broker"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield _address(child)
    finally:
        _end(child)


def _address(child: subprocess.Popen[str]) -> str:
    """Read the one line that the broker prints, within a bound."""
    assert child.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        ready = selector.select(_START_S)
    line = child.stdout.readline().strip() if ready else ""
    if not line:
        raise RuntimeError(f"the embedded broker printed no address in {_START_S} s (exit code {child.poll()})")
    return line


def _end(child: subprocess.Popen[str]) -> None:
    """Ask by closing its input, then insist."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    try:
        child.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(_STOP_S)
    child.stdout.close()
