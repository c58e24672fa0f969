"""No test and no run goes on for ever."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.sources import ROOT

# It swallows whatever is raised into it, as a loop does that waits for the end of a task that ignores its cancellation.
_STUBBORN = """
import time

def test_never_ends():
    while True:
        try:
            time.sleep(100)
        except BaseException:
            pass
"""
_PATIENT = """
import time

def test_takes_long():
    time.sleep(100)
"""
_GOOD = "def test_is_good():\n    assert True\n"


def _run(folder: Path, *options: str, **tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests in a pytest of their own, with the bounds."""
    for name, program in tests.items():
        (folder / f"test_{name}.py").write_text(program)
    plugins = ["-ppytest_timeout", "-pxdist", "-ptests.runs.bounds", "-pno:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, f"--rootdir={folder}", "-c", os.devnull, *options, str(folder)],
        cwd=ROOT,
        # Other plugins take most of a short run's time.
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def test_a_test_that_swallows_its_timeout_is_ended_and_named(tmp_path: Path) -> None:
    """The process ends with 1, says which test it was, and where it stood."""
    done = _run(tmp_path, "-o", "timeout=0.2", "-o", "grace=0.3", stubborn=_STUBBORN)
    assert done.returncode == 1
    assert "test_stubborn.py::test_never_ends has not ended 0.3 s after its timeout of 0.2 s" in done.stderr
    assert re.search(r'File ".*test_stubborn.py", line \d+ in test_never_ends', done.stderr)


def test_a_divided_run_ends_with_a_test_that_had_to_be_ended(tmp_path: Path) -> None:
    """A worker that was ended fails the test that it was at, and pytest has the last line."""
    bounds = ["-o", "timeout=0.2", "-o", "grace=0.3", "--max-worker-restart=0"]
    done = _run(tmp_path, "-n", "2", "--dist", "loadfile", *bounds, stubborn=_STUBBORN, good=_GOOD)
    assert done.returncode == 1
    assert "crashed while running" in done.stdout
    assert re.search(r"1 failed, 1 passed", done.stdout.splitlines()[-1])


def test_a_run_that_takes_too_long_is_interrupted_and_says_where(tmp_path: Path) -> None:
    """Past its bound a run names the test that it is at, and ends with pytest's exit code for an interruption."""
    done = _run(tmp_path, "-o", "run_timeout=1", patient=_PATIENT)
    assert done.returncode == 2
    assert re.search(r"the run takes longer than 1 s; it is at test_patient.py::test_takes_long \(\d+ s\)", done.stderr)


def test_a_run_in_the_background_of_a_shell_is_interrupted_too(tmp_path: Path) -> None:
    """A shell lets what it starts in its background ignore an interruption; the bound of a run is not ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = _run(tmp_path, "-o", "run_timeout=1", patient=_PATIENT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.returncode == 2


def test_a_divided_run_that_takes_too_long_is_interrupted(tmp_path: Path) -> None:
    """It ends within the bound and the grace, whether or not its workers are there yet."""
    done = _run(tmp_path, "-n", "1", "-o", "run_timeout=1", patient=_PATIENT)
    assert done.returncode == 2
    assert "the run takes longer than 1 s; it is at " in done.stderr
