"""The import contracts and the banned names hold: each catches a violation that is planted in a copy of the source."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sources import ROOT

_BIN = Path(sys.executable).parent

# contract -> (the module that breaks it, the line that does)
_VIOLATIONS = {
    "a service imports its sibling": ("services/inventory/__init__.py", "import services.payment"),
    "messaging imports a service": ("services/messaging/__init__.py", "import services.oms"),
    "a service imports the command": ("services/payment/__init__.py", "import services.cli"),
    "tracing imports services": ("tracing/__init__.py", "import services.contracts"),
    "contracts import tracing": ("services/contracts/topics.py", "import tracing"),
    "tracing imports a web framework": ("tracing/semconv.py", "import fastapi"),
    "headers import spans": ("tracing/headers.py", "import tracing.spans"),
    "errors import the consumer": ("services/messaging/errors.py", "import services.messaging.consumer"),
    "the saga table imports an event loop": ("services/oms/saga.py", "import asyncio"),
    "the saga table imports SQL": ("services/oms/saga.py", "import sqlalchemy"),
    "a contract imports the client": ("services/contracts/codec.py", "import aiokafka"),
    "a store imports its handlers": ("services/inventory/store.py", "import services.inventory.handlers"),
    "the offset tracker imports the client": ("services/messaging/consuming/offsets.py", "import aiokafka"),
    "the trace model imports the demo": ("services/cli/traces/model.py", "import services.cli.demo"),
    "a service imports the embedded broker": ("services/audit/__init__.py", "import confluent_kafka"),
    "the product imports its tests": ("services/notification/__init__.py", "import pytest"),
}


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter prints of a copy of the source that holds every planted violation."""
    copy = tmp_path_factory.mktemp("planted")
    for package in ("services", "tracing"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for file, line in _VIOLATIONS.values():
        with (copy / file).open("a") as source:
            source.write(f"\n{line}\n")
    (copy / "services/messaging/unplaced.py").touch()
    result = subprocess.run(
        [_BIN / "lint-imports", "--no-cache", "--no-logo"],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert result.returncode == 1, result.stdout + result.stderr
    # The printer wraps lines at the width of its terminal.
    return " ".join(result.stdout.split())


@pytest.mark.parametrize("violation", _VIOLATIONS)
def test_a_planted_import_is_caught(verdict: str, violation: str) -> None:
    """An import against the direction of the design breaks a contract, which names both ends."""
    file, line = _VIOLATIONS[violation]
    importer = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    imported = line.removeprefix("import ")
    assert f"{importer} -> {imported}" in verdict


def test_a_module_that_no_layer_names_is_caught(verdict: str) -> None:
    """A new module of `messaging` has to be given its layer."""
    assert "not listed as layers" in verdict
    assert "services.messaging.unplaced" in verdict


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("services/oms/handlers.py", "import os\n\nDATABASE = os.environ['DATABASE_URL']\n"),
        ("services/payment/gateway.py", "import os\n\nDATABASE = os.getenv('DATABASE_URL')\n"),
        ("services/payment/charge.py", "import random\n\nFAILS = random.random() < 0.5\n"),
        ("tracing/spans.py", "from opentelemetry.sdk.trace import TracerProvider\n"),
    ],
)
def test_a_banned_name_is_caught(file: str, line: str) -> None:
    """Ruff refuses the environment outside settings, unseeded chance, and the SDK outside the provider."""
    assert "TID251" in _banned(file, line)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("services/messaging/settings.py", "import os\n\nDATABASE = os.environ['DATABASE_URL']\n"),
        ("tracing/provider.py", "from opentelemetry.sdk.trace import TracerProvider\n"),
        ("tracing/testing.py", "from opentelemetry.sdk.trace import TracerProvider\n"),
    ],
)
def test_a_banned_name_is_allowed_where_it_belongs(file: str, line: str) -> None:
    """The same names pass in the modules that exist for them."""
    assert "TID251" not in _banned(file, line)


def _banned(file: str, source: str) -> str:
    ruff = str(_BIN / "ruff")
    command = [ruff, "check", "--select", "TID251", "--no-cache", "--stdin-filename", str(ROOT / file), "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, timeout=200, check=False).stdout
