"""Children are started with a lifeline, watched through their logs, and all ended."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.cli.children import END_S, Child, Children
from services.cli.errors import CannotRun
from tests.runs.slowness import is_within
from tests.support.eventually import eventually

#: Modules of the standard library that serve as children: one that lives until its input ends, and one that ends.
_LIVES = ["code", "-q"]
_ENDS = ["this"]


def _log(folder: Path, text: str) -> Child:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(200)
    child = Child("oms", process, folder / "oms.log")
    child.log.write_text(text)
    return child


def test_a_log_is_read_by_whole_lines(tmp_path: Path) -> None:
    """An event counts once its line is complete, whatever other lines there are."""
    child = _log(tmp_path, 'Traceback\n{"event": "service.ready"}\n{"event": "service.sto')
    assert child.has_logged("service.ready")
    assert not child.has_logged("service.sto")
    assert child.last_line() == "service.ready"


def test_a_silent_child_has_no_last_line(tmp_path: Path) -> None:
    """A child that wrote nothing is said to have written nothing."""
    assert _log(tmp_path, "").last_line() == "it wrote nothing"


def test_all_children_end_when_they_are_left(tmp_path: Path) -> None:
    """Leaving ends every child within its bound."""
    with Children(tmp_path) as children:
        started = [children.start(str(number), _LIVES, {}) for number in range(3)]
        began = time.monotonic()
    assert is_within(time.monotonic() - began, END_S + 1)
    assert all(child.process.returncode is not None for child in started)


async def test_a_child_that_ended_is_an_error_with_its_log(tmp_path: Path) -> None:
    """A child that ends while it is waited for is an error that names it, its last line and its log."""
    with Children(tmp_path) as children:
        child = children.start("zen", _ENDS, {})
        await eventually(lambda: child.process.poll() is not None)
        with pytest.raises(CannotRun, match=r"zen ended \(exit code 0\): Namespaces are .*: see .*zen\.log"):
            children.wait_for(child, lambda: False, 5)


def test_waiting_for_a_child_has_a_bound(tmp_path: Path) -> None:
    """A child that lives and is never ready is an error after the time that it has."""
    with Children(tmp_path) as children:
        child = children.start("slow", _LIVES, {})
        with pytest.raises(CannotRun, match=r"slow is not ready after 0\.2 s: see .*slow\.log"):
            children.wait_for(child, lambda: False, 0.2)


async def test_a_cut_lifeline_ends_the_process_and_its_folder(tmp_path: Path) -> None:
    """When standard input ends, the process is gone with its folder, and the parent folder once it is empty."""
    scratch, other = tmp_path / "scratch" / "oms", tmp_path / "scratch" / "audit"
    scratch.mkdir(parents=True)
    other.mkdir()
    code = "import sys, threading; from pathlib import Path; from services.cli.lifeline import hold; "
    code += "hold(Path(sys.argv[1])); print('held', flush=True); threading.Event().wait(60)"
    for folder in (scratch, other):
        process = _start(code, folder)
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"held\n"
        process.stdin.close()
        assert process.wait(50) == 1
        process.stdout.close()
        assert not folder.exists()
    assert not scratch.parent.exists()


def _start(code: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
