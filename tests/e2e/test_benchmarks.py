"""The benchmark runs from end to end, in its short form."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.modes import MODES
from tests.runs.sizes import thorough
from tests.support import parts
from tests.support.sources import ROOT


@thorough
@pytest.mark.timeout(120)
def test_a_quick_run_measures_every_row(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Everything runs: broker, receiver, a worker for each row, every span received, the table and the JSON."""
    if importlib.util.find_spec("confluent_kafka") is None:
        parts.missing(request.config, parts.BROKER, "install the extra: pip install 'sagatrace-services[demo]'")
    file = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--messages", "200", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1000,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"[{len(MODES)}/{len(MODES)}]" in done.stderr
    assert "tax = (row - untraced) / (contrib - untraced)" in done.stdout
    found = json.loads(file.read_text())
    assert set(found["tax"]) == {"official_100", "official_0", "fast_100", "fast_0"}
    assert found["encoder"] > 1
    for row in found["rows"].values():
        assert set(row) == {"produce", "getone", "getmany"}
        assert all(0 < figure["min"] <= figure["median"] for figure in row.values())
