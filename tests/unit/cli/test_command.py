"""The command documents itself, and reports errors in the way a shell user expects."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from services.cli.app import app

_SERVICES = ("oms", "inventory", "payment", "audit", "notification")


def test_the_version_is_the_distributions() -> None:
    """`--version` prints the name and the installed version."""
    assert CliRunner().invoke(app, ["--version"]).output == f"sagatrace {version('sagatrace')}\n"


def test_help_names_commands_examples_and_exit_codes() -> None:
    """`--help` shows every command, an example, and what an exit code means."""
    text = CliRunner().invoke(app, ["--help"]).output
    assert all(re.search(rf"^  {command} ", text, flags=re.MULTILINE) for command in ("demo", "run"))
    assert "sagatrace run oms" in text
    assert "Exit codes: 0 done; 1 " in text


def _commands(group: Any, *path: str) -> Iterator[tuple[str, ...]]:
    """Yield the path of each command of a group and its subgroups."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, *path, name)
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", list(_commands(get_command(app))), ids=" ".join)
def test_each_command_has_an_example(path: tuple[str, ...]) -> None:
    """The help of every command shows a line that can be copied, unbroken."""
    text = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80"}).output
    examples = text.partition("Example")[2].splitlines()[1:]
    assert any(line.startswith("  ") and f"sagatrace {' '.join(path)}" in line for line in examples), text


def test_an_unknown_service_is_refused_with_the_known_ones() -> None:
    """`run` without a service that exists exits with 2 and names those that do."""
    result = CliRunner().invoke(app, ["run", "shipping"])
    assert result.exit_code == 2
    assert all(service in result.output for service in _SERVICES)


def test_a_wrong_endpoint_of_the_demo_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The demo says what is wrong with its settings before it starts anything."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318")
    result = CliRunner().invoke(app, ["demo", "--output", str(tmp_path)])
    (line,) = result.stderr.splitlines()
    assert result.exit_code == 2
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in line
    assert list(tmp_path.iterdir()) == []


def test_an_option_of_a_running_system_is_refused_without_one(tmp_path: Path) -> None:
    """`--jaeger` without `--api` would be passed over in silence; it is refused before anything starts."""
    result = CliRunner().invoke(app, ["demo", "--output", str(tmp_path), "--jaeger", "http://localhost:1"])
    assert result.exit_code == 2
    assert "--api" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        pytest.param("SAGATRACE_STOP_BUDGET", "long", id="a wrong setting"),
        pytest.param("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1", id="no broker"),
        pytest.param("DATABASE_URL", "postgresql+asyncpg://somebody:secret@127.0.0.1:1/shop", id="no database"),
    ],
)
def test_a_service_that_cannot_start_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str
) -> None:
    """A service whose setting is wrong, or names what is not there, says which in one line, and exits with 2."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/audit.sqlite")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    monkeypatch.setenv("SAGATRACE_PRODUCER_START_TIMEOUT", "1")
    monkeypatch.setenv(variable, value)
    command = [sys.executable, "-m", "services.cli", "run", "audit"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    (line,) = result.stderr.splitlines()
    assert result.returncode == 2
    assert line.startswith("sagatrace: audit: ")
    assert variable in line
    assert "secret" not in line


@pytest.mark.parametrize("command", [["verify"], ["run", "audit"], ["dlq", "list"]])
def test_what_opentelemetry_reads_on_its_import_is_one_line_too(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A propagator that is not installed is exit code 2 and a line that names the variable, in every command."""
    monkeypatch.setenv("OTEL_PROPAGATORS", "carrier-pigeon")
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", *command], capture_output=True, text=True, timeout=600, check=False
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith("sagatrace: OTEL_PROPAGATORS")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_output_that_cannot_be_written_is_one_line() -> None:
    """A standard output that is full is exit code 2 and a line, not a traceback after everything looked done."""
    command = [sys.executable, "-m", "services.cli", "--version"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith("sagatrace: the output can't be written")


def test_one_sqlite_file_is_not_migrated_for_all_services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A SQLite file holds one service, so `migrate` says so and makes nothing."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/all.sqlite")
    result = CliRunner().invoke(app, ["migrate"])
    (line,) = result.stderr.splitlines()
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "DATABASE_URL" in line


def test_an_unavailable_broker_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """`topics` prints what it waits for and one line for the failure, not one for each attempt."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", "topics", "--wait", "1.5"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    waiting, failed = done.stderr.splitlines()
    assert waiting == "sagatrace: asking the broker at 127.0.0.1:9, for 1.5 s at most"
    assert failed.startswith("sagatrace: topics can't be made at KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9")
    assert (done.returncode, done.stdout) == (2, "")
