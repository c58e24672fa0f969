"""No server outlives the run of tests that started it, however that ends."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.collector import forwarding
from tests.servers.pool import Servers
from tests.servers.process import ServerFailed, ServerProcess
from tests.support.eventually import eventually
from tests.support.sources import ROOT

# A shell that cannot be asked to end, with a child of its own.
_STUBBORN = ("sh", "-c", "trap '' TERM; sleep 1000 & echo \"child $!\"; while true; do sleep 1000; done")

# part -> what its start is given
_ARGUMENTS: dict[str, tuple[object, ...]] = {
    "kafka": (),
    "kafka35": (),
    "postgres": (),
    "jaeger": (),
    "collector": (forwarding("127.0.0.1:1"),),
    "prometheus": ({},),
}

_RUN = """
import pathlib, time

def test_starts_a_server(servers):
    server = servers.{part}(*{arguments!r})
    report = pathlib.Path({report!r})
    report.with_suffix(".part").write_text(" ".join(str(process.pid) for process in server.processes))
    report.with_suffix(".part").rename(report)
    time.sleep(1000)
"""


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that ignores being asked to end."""
    with ServerProcess("stubborn", _STUBBORN, tmp_path / "log", grace_s=0.2) as server:
        yield server


async def _family(process: ServerProcess) -> list[int]:
    process.start(lambda: process.has_printed("child "))
    assert process.pid is not None
    return [process.pid, int(process.log.read_text().split()[-1])]


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_stubborn_server_ends_with_its_children(process: ServerProcess, end: str) -> None:
    """After `stop`, which has a bound, and after `kill`, nothing of the server's process group is left."""
    family = await _family(process)
    assert all(map(_is_there, family))
    getattr(process, end)()
    assert not process.is_running
    await eventually(lambda: not any(map(_is_there, family)))


def test_a_server_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    """The error of a start that failed holds what the server printed."""
    server = ServerProcess("broken", ("sh", "-c", "echo no such file; exit 3"), tmp_path / "log")
    with pytest.raises(ServerFailed, match=r"broken ended before it was ready\n.*\nno such file"):
        server.start(lambda: False)


def test_a_server_that_never_answers_is_ended(process: ServerProcess) -> None:
    """A start that takes too long fails, and leaves nothing behind."""
    with pytest.raises(ServerFailed, match=r"stubborn was not ready in 0 s"):
        process.start(lambda: False, within_s=0.3)
    assert process.pid is not None
    assert not _is_there(process.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
async def test_a_server_ends_with_its_lifeline(process: ServerProcess) -> None:
    """A server whose lifeline is killed is killed too."""
    server, _ = await _family(process)
    assert process._lifeline is not None
    process._lifeline.kill()
    await eventually(lambda: not _is_there(server))


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files that other users may pass through: PostgreSQL may run as one."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def _run_of_tests(program: Path, temporary: Path) -> subprocess.Popen[bytes]:
    """Start a run whose output is shown if this test fails."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.servers.fixtures", "-p", "no:cacheprovider"]
    return subprocess.Popen(
        [*command, f"--rootdir={program.parent}", "-c", os.devnull, str(program)],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(temporary)},
        start_new_session=True,
    )


@pytest.mark.timeout(180)
@pytest.mark.parametrize("part", _ARGUMENTS)
async def test_a_killed_run_leaves_no_server(part: str, servers: Servers, tmp_path: Path, temporary: Path) -> None:
    """A server, its helpers and its data are gone after `kill -9` of the tests' whole process group."""
    servers.programs(part)
    report, program = tmp_path / "pids", tmp_path / "test_run.py"
    program.write_text(_RUN.format(part=part, arguments=_ARGUMENTS[part], report=str(report)))
    run = _run_of_tests(program, temporary)
    try:
        await eventually(report.exists, 90)
        pids = [int(pid) for pid in report.read_text().split()]
        assert all(map(_is_there, pids))
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    await eventually(lambda: not any(map(_is_there, pids)), 20)
    await eventually(lambda: not list(temporary.glob("*/*/data")), 20)
