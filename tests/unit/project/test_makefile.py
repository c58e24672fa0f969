"""The Makefile tells what there is, and chooses a Python that works."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.sources import ROOT

_TARGETS = {"help", "setup", "demo", "test", "servers", "lint", "fmt", "audit", "bench", "chaos", "lock"}


# Not as a child of the make that runs these tests.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


def _make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [shutil.which("make") or "make", *arguments]
    return subprocess.run(
        command, cwd=folder, env=_ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that was never set up."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
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
