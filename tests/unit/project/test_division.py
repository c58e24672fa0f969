"""A run that is divided among processes."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.sources import ROOT

_UNSTABLE = """
import pytest

@pytest.mark.parametrize("given", [object()], ids=repr)
def test_of_an_object(given):
    assert given
"""


def test_an_id_with_an_address_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """Two processes would not find each other's test; also a run in one process names it, to whoever writes it."""
    (tmp_path / "test_unstable.py").write_text(_UNSTABLE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-ptests.runs.division", "-pno:cacheprovider", "-c", os.devnull, tmp_path],
        cwd=ROOT,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 4
    assert "test_unstable.py::test_of_an_object[<object object at 0x" in done.stderr
