"""The servers of a run that pytest-xdist divides are one of each, and end with it."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.servers.pool import Servers
from tests.servers.ports import accepts
from tests.support.eventually import eventually
from tests.support.sources import ROOT

pytestmark = pytest.mark.timeout(180)

# Each of two workers has one of these, and waits until the other has its answer too.
_TEST = """
import pathlib, time

def test_asks(postgres, worker_id):
    here = pathlib.Path({folder!r})
    (here / worker_id).write_text(postgres)
    (here / worker_id).rename(here / f"{{worker_id}}.url")
    while len(list(here.glob("*.url"))) < 2 or {stays}:
        time.sleep(0.05)
"""


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files that other users may pass through: PostgreSQL may run as one."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def _divided_run(folder: Path, temporary: Path, *, stays: bool) -> subprocess.Popen[str]:
    """Start a run of two workers, with a test each; its tests end, or stay until they are killed."""
    (folder / "told").mkdir()
    for name in ("one", "other"):
        (folder / f"test_{name}.py").write_text(_TEST.format(folder=str(folder / "told"), stays=stays))
    plugins = ["-pxdist", "-ptests.servers.fixtures", "-pno:cacheprovider", "-n2", "--dist=loadfile"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *plugins, f"--rootdir={folder}", "-c", os.devnull, str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _port(folder: Path) -> int:
    """Return the port of the one server that both workers were told of."""
    urls = {path.read_text() for path in (folder / "told").glob("*.url")}
    (url,) = urls
    port = make_url(url).port
    assert port is not None
    return port


def _is_gone(port: int) -> bool:
    try:
        return not accepts(port)
    except OSError:
        return True


def test_workers_share_a_server_that_ends_with_the_run(servers: Servers, tmp_path: Path, temporary: Path) -> None:
    """Both are told of the same server, whichever asked first; after the run it is gone with its folder."""
    servers.programs("postgres")
    run = _divided_run(tmp_path, temporary, stays=False)
    output, _ = run.communicate(timeout=1200)
    assert run.returncode == 0, output
    assert _is_gone(_port(tmp_path))
    assert list(temporary.glob("sagatrace-servers-*")) == []


@pytest.mark.parametrize("whole_group", [True, False], ids=["all processes", "the first process"])
async def test_a_killed_divided_run_leaves_no_server(
    servers: Servers, tmp_path: Path, temporary: Path, *, whole_group: bool
) -> None:
    """The server and its data are gone after `kill -9` of all processes of a run, or of the one that began it."""
    servers.programs("postgres")
    run = _divided_run(tmp_path, temporary, stays=True)
    try:
        await eventually(lambda: len(list((tmp_path / "told").glob("*.url"))) == 2, 90)
        port = _port(tmp_path)
        assert not _is_gone(port)
        os.kill(-run.pid if whole_group else run.pid, signal.SIGKILL)
        await eventually(lambda: _is_gone(port), 20)
        await eventually(lambda: not list(temporary.glob("*/*/*/data")), 20)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
