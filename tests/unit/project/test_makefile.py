"""The Makefile tells what there is, and chooses a Python that works."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.support.sources import ROOT

_TARGETS = {
    "help",
    "setup",
    "demo",
    "test",
    "next",
    "servers",
    "lint",
    "fmt",
    "audit",
    "bench",
    "chaos",
    "peers",
    "picture",
    "dist",
    "lock",
}


# Not as a child of the make that runs these tests.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


def _make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [shutil.which("make") or "make", *arguments]
    return subprocess.run(
        command, cwd=folder, env=_ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that was never set up."""
    (tmp_path / "services").mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "services/pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_help_lists_every_target(checkout: Path) -> None:
    """`make` alone lists each target with a sentence, and changes nothing."""
    before = set(checkout.iterdir())
    result = _make(checkout)
    assert {line.split()[1] for line in result.stdout.splitlines()} == _TARGETS
    assert set(checkout.iterdir()) == before


def test_setup_without_a_python_says_what_to_install(checkout: Path) -> None:
    """A machine without a Python that fits gets one line on what to install, and no half-made environment."""
    result = _make(checkout, "setup", "PYTHON=no-such-python")
    assert result.returncode != 0
    assert "No Python from 3.11 to 3.14" in result.stderr
    assert "apt install python3-venv" in result.stderr
    assert not (checkout / ".venv").exists()


def test_setup_refuses_a_python_that_cannot_run(checkout: Path) -> None:
    """A shim that is on PATH but fails to start is not taken."""
    shim = checkout / "python3"
    shim.write_text("#!/bin/sh\necho 'python3: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    assert "runs under these names: " + str(shim) in _make(checkout, "setup", f"PYTHON={shim}").stderr


@contextmanager
def _advisories(answer: object, status: int = 200) -> Iterator[str]:
    """Serve one answer to every question, as the OSV API would, and yield its address."""

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def _audit(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    locked = folder / "locked.txt"
    locked.write_text("idna==3.0\n")
    return _make(ROOT, "audit", f"AUDITED={locked}", f"ARGS={' '.join(options)}")


def test_an_audit_tells_what_is_known(tmp_path: Path) -> None:
    """Nothing known is success; a known vulnerability is named, and is a failure."""
    osv = ("--vulnerability-service", "osv", "--osv-url")
    with _advisories({}) as address:
        result = _audit(tmp_path, *osv, address)
    assert (result.returncode, "No known vulnerabilities found" in result.stderr) == (0, True), result.stderr
    known = {"id": "PYSEC-2024-60", "summary": "slow", "affected": [{"package": {"name": "idna", "ecosystem": "PyPI"}}]}
    with _advisories({"vulns": [known]}) as address:
        result = _audit(tmp_path, *osv, address)
    assert "PYSEC-2024-60" in result.stdout
    assert "Error 1" in result.stderr
    assert "nothing was checked" not in result.stderr


def test_an_audit_that_could_not_ask_is_no_success(tmp_path: Path) -> None:
    """Where the advisory data can't be had, or does not know a package, the audit fails and says so."""
    with _advisories({}, status=503) as address:
        refused = _audit(tmp_path, "--vulnerability-service", "osv", "--osv-url", address)
    unreached = _audit(tmp_path, "--vulnerability-service", "osv", "--osv-url", "http://127.0.0.1:9/v1/query")
    for result in (refused, unreached):
        assert result.returncode != 0
        assert "nothing was checked" in result.stderr
    # PyPI's answer for a package that it does not have is no error of pip-audit's unless it is strict.
    assert "--strict" in (ROOT / "Makefile").read_text().partition("pip-audit")[2].partition("\n")[0]
