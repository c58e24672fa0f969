"""The benchmarks of the whole system run from end to end, in their short forms; what they count must be right."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runs.sizes import thorough
from tests.servers.pool import Servers
from tests.support import parts
from tests.support.sources import ROOT

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def embedded(request: pytest.FixtureRequest) -> None:
    """The embedded broker is installed."""
    if importlib.util.find_spec("confluent_kafka") is None:
        parts.missing(request.config, parts.BROKER, "install the extra: pip install 'sagatrace-services[demo]'")


def _figures(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a benchmark, and read its JSON."""
    file = folder / "figures.json"
    command = [sys.executable, "-m", "benchmarks", *arguments, "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(file.read_text())
    return found


@pytest.mark.usefixtures("embedded")
def test_keys_are_handled_in_their_order(tmp_path: Path) -> None:
    """The benchmark of keys fails by itself if a key's order is not kept, and prints four numbers."""
    found = _figures(tmp_path, "keys", "--messages", "400", "--keys", "20")
    assert set(found["seconds"]) == {"scheduler", "consumer", "one_key", "one_key_sequential"}


@thorough
@pytest.mark.usefixtures("embedded")
def test_a_message_leaves_no_object_behind(tmp_path: Path) -> None:
    """After thousands of traced messages the process holds less than one more object for every ten messages."""
    # The second quarter has to begin after the caches are full: 4,096 span contexts are remembered.
    messages = 20_000
    found = _figures(tmp_path, "memory", "--messages", str(messages), "--receiver", "alive")
    # Between the quarters that are compared lie half of the messages.
    assert found["alive"]["growth"]["objects"] < messages / 2 / 10


def test_the_pipeline_counts_right(tmp_path: Path, servers: Servers) -> None:
    """On real Kafka and PostgreSQL every saga completes, every event is audited in order, every hop has its spans."""
    for part in ("kafka", "postgres"):
        servers.programs(part)
    found = _figures(tmp_path, "pipeline", "--instances", "1", "--sagas", "20", "--rounds", "1")["instances_1"]
    assert found["events_out_of_order"] == 0
    assert set(found["cpu_ms_per_saga"]) >= {"oms", "inventory", "payment", "audit", "notification", "kafka"}
    # Each of a completed saga's eight messages has a send, and a process for each group that reads it; the rest are the
    # request, the saga's bar, and polls and commits, which serve several messages.
    sends, processes, others = 8, 10, 2
    assert found["spans_per_saga"] >= sends + processes + others
