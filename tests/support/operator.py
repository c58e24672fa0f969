"""The command as an operator runs it: in this process, because a start costs a second, or in a separate one."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from typer.testing import CliRunner

from services.cli.app import app

OPERATOR = "ada@ops"


@dataclass(frozen=True)
class Operator:
    """Runs `sagatrace` as ada.

    Args:
        variables: the settings.
        is_process: run it in a separate process.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    is_process: bool = False

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command; return its exit code and what it prints."""
        variables = {"SAGATRACE_OPERATOR": OPERATOR, **self.variables}
        if self.is_process:
            return _spawn(arguments, variables)
        # The command has an event loop of its own, so it needs a thread of its own.
        with _logging_kept(), ThreadPoolExecutor(1) as thread:
            done = thread.submit(CliRunner().invoke, app, list(arguments), env=variables).result(600)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    def json(self, *arguments: str) -> Any:
        """Run a command that must succeed, and read its JSON document."""
        code, out, err = self.run(*arguments, "--json")
        assert (code, err) == (0, ""), out + err
        return json.loads(out)


def _spawn(arguments: tuple[str, ...], variables: Mapping[str, str]) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@contextmanager
def _logging_kept() -> Iterator[None]:
    """Undo what the command does to the logging of its process."""
    root, client = logging.getLogger(), logging.getLogger("aiokafka")
    kept = root.handlers, root.level, client.level
    try:
        yield
    finally:
        structlog.reset_defaults()
        root.handlers = kept[0]
        root.setLevel(kept[1])
        client.setLevel(kept[2])
