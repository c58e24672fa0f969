"""Two bounds that hold whatever a test does: on each test, and on the whole run. A pytest plugin.

pytest-timeout raises an error inside a test that takes too long, and does so once: a test that swallows the error, or
waits for ever for a task that ignores its cancellation, goes on. So a process that is still in the same test some time
later says which one it is, shows where each of its threads is, and ends. Under pytest-xdist that is a worker: its test
has failed, the others finish what they have, and the run ends.

Both are for what never ends, and leave time for a slow machine: a test has ten times what it names (`slowness.py`).

A run that takes longer than `run_timeout` (seconds) names the tests that it is at, and is interrupted; the exit code is
pytest's for that, 2, or 1 where it does not end by itself.
"""

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Generator

import pytest

from tests.runs.slowness import PATIENCE

OVERDUE = 1
"""The exit code of a process that had to be ended."""

_STDERR = 2


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the configuration say how long a run may take, and how long after its timeout a test is ended."""
    parser.addini("run_timeout", "seconds for the whole run", default="1800")
    parser.addini("grace", "seconds after a timeout that was ignored, until the process is ended", default="30")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to watch; a worker of pytest-xdist leaves the whole run to the process that started it."""
    grace_s = float(config.getini("grace"))
    usual_s = float(config.getoption("timeout", None) or config.getini("timeout") or 0)
    # What a test prints is captured; this has to be seen.
    stderr = os.dup(_STDERR)
    config.add_cleanup(lambda: os.close(stderr))
    config.pluginmanager.register(TestBound(usual_s, grace_s, stderr), "bound of a test")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(
            RunBound(float(config.getini("run_timeout")), grace_s, stderr), "bound of the run"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test that names a timeout as much more time as a slow machine may need."""
    for item in items:
        if own_s := _timeout_of(item):
            item.add_marker(pytest.mark.timeout(own_s * PATIENCE), append=False)


def _timeout_of(item: pytest.Item) -> float | None:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker and marker.args else None


class TestBound:
    """Ends the process when a test goes on after its timeout.

    Args:
        usual_s: The timeout of a test that names none; 0 for none.
        grace_s: How much longer a test may take.
        stderr: The descriptor that takes what there is to say.
    """

    __test__ = False

    def __init__(self, usual_s: float, grace_s: float, stderr: int) -> None:
        self._usual_s = usual_s
        self._grace_s = grace_s
        self._stderr = stderr

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Watch one test with its fixtures."""
        own_s = _timeout_of(item) or self._usual_s
        if not own_s:
            return (yield)
        with _after(own_s + self._grace_s, lambda: self._end(item.nodeid, own_s)):
            return (yield)

    def _end(self, test: str, own_s: float) -> None:
        _say(self._stderr, f"{test} has not ended {self._grace_s:g} s after its timeout of {own_s:g} s")
        faulthandler.dump_traceback(self._stderr, all_threads=True)
        os._exit(OVERDUE)


class RunBound:
    """Interrupts a run that takes too long.

    Args:
        bound_s: How long it may take.
        grace_s: How long it may take to end then.
        stderr: The descriptor that takes what there is to say.
    """

    def __init__(self, bound_s: float, grace_s: float, stderr: int) -> None:
        self._bound_s = bound_s
        self._grace_s = grace_s
        self._stderr = stderr
        self._running: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Watch the run."""
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in its background
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with _after(self._bound_s, self._interrupt), _after(self._bound_s + self._grace_s, self._end):
            return (yield)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Take note of a test that begins, in whichever process."""
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Take note of its end."""
        self._running.pop(nodeid, None)

    def _interrupt(self) -> None:
        now = time.monotonic()
        at = ", ".join(f"{test} ({now - began:.0f} s)" for test, began in self._running.copy().items())
        _say(self._stderr, f"the run takes longer than {self._bound_s:g} s; it is at {at or 'no test'}")
        os.kill(os.getpid(), signal.SIGINT)

    def _end(self) -> None:
        _say(self._stderr, "the run did not end when it was interrupted")
        faulthandler.dump_traceback(self._stderr, all_threads=True)
        os._exit(OVERDUE)


class _after:  # noqa: N801  reads as a word
    """Calls a function in a thread of its own, if the block takes longer than so many seconds."""

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self._timer = threading.Timer(seconds, call)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


def _say(stderr: int, text: str) -> None:
    os.write(stderr, f"\nsagatrace tests: {text}\n".encode())
