"""`sagatrace run all`: the five services, each a process of its own, as one command."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.cli.order_api import OrderApi
from services.cli.stack import HOST, take_port
from tests.support.broker import Broker
from tests.support.demos import SERVICES, processes_that_name
from tests.support.eventually import eventually
from tests.support.sources import ROOT

pytestmark = [
    pytest.mark.brokers("embedded"),
    pytest.mark.timeout(120),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc"),
]

_READY_S = 60.0
_STOP_S = 30.0


@contextmanager
def _running(folder: Path, broker: Broker, port: int) -> Iterator[subprocess.Popen[str]]:
    """Start the command with its files in a folder, and kill it at the end if it still runs."""
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": broker,
        "SAGATRACE_API_PORT": str(port),
        "OTEL_SDK_DISABLED": "true",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(folder),
    }
    command = [sys.executable, "-m", "services.cli", "run", "all"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=folder, env=os.environ | variables, stdout=pipe, stderr=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _services(folder: Path, process: subprocess.Popen[str]) -> set[int]:
    return processes_that_name(folder) - {process.pid}


async def test_all_services_run_until_a_signal_ends_them(tmp_path: Path, broker: Broker) -> None:
    """The order API answers, one SIGTERM ends every service in order, and the exit code is 0."""
    port = take_port(None)
    with _running(tmp_path, broker, port) as process:
        await eventually(OrderApi(HOST, port).is_ready, timeout_s=_READY_S)
        assert len(_services(tmp_path, process)) == len(SERVICES)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=10 * _STOP_S)
        assert (process.returncode, errors) == (0, "")
        assert output.count('"service.stopped"') == len(SERVICES)
        assert _services(tmp_path, process) == set()


async def test_a_service_that_dies_ends_the_others(tmp_path: Path, broker: Broker) -> None:
    """Half a system only looks alive: the command ends all, says which died, and exits with 2."""
    port = take_port(None)
    with _running(tmp_path, broker, port) as process:
        await eventually(OrderApi(HOST, port).is_ready, timeout_s=_READY_S)
        os.kill(min(_services(tmp_path, process)), signal.SIGKILL)
        _, errors = process.communicate(timeout=10 * _STOP_S)
        assert process.returncode == 2
        assert "ended (exit code -9), and the others with it" in errors
        assert _services(tmp_path, process) == set()


async def test_no_service_outlives_the_command(tmp_path: Path, broker: Broker) -> None:
    """Also where it is killed with -9."""
    port = take_port(None)
    with _running(tmp_path, broker, port) as process:
        await eventually(lambda: len(_services(tmp_path, process)) == len(SERVICES), timeout_s=_READY_S)
        process.kill()
        await eventually(lambda: not _services(tmp_path, process), timeout_s=_STOP_S)
