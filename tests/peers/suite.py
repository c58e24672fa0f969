"""Runs a suite once, without or with our tracing, in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.peers.differences import Outcome
from tests.support.sources import ROOT

_SUITE_S = 600.0
# The tests ran to their end, whether or not all passed.
_FINISHED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


class NotRun(Exception):
    """A suite did not come to its end; the message ends with what pytest said."""


def run(sdist: Path, packages: Path, *, traced: bool) -> Mapping[str, Outcome]:
    """Run the tests of an sdist.

    Args:
        sdist: its unpacked folder; the tests are in `tests`.
        packages: a folder with what the tests import besides the project's environment.
        traced: whether our instrumentor takes the place of contrib's.

    Returns:
        The outcomes, by the tests' ids.

    Raises:
        NotRun: a file of the suite could not be imported, or it did not end within ten minutes.
    """
    with tempfile.TemporaryDirectory() as folder:
        outcomes = Path(folder) / "outcomes.json"
        command = [sys.executable, "-m", "pytest", *_options(sdist, outcomes), str(sdist / "tests")]
        # Run here and not in the sdist, both of which have a folder `tests`: Python takes the first for the package.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(packages)))}
        try:
            result = subprocess.run(
                [*command, *(["--peers-traced"] if traced else [])],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_SUITE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise NotRun(f"{sdist.name} did not end within {_SUITE_S:.0f} s") from error
        if result.returncode not in _FINISHED:
            raise NotRun(f"{sdist.name} did not run\n{result.stdout}{result.stderr}")
        return {test: Outcome(**outcome) for test, outcome in json.loads(outcomes.read_text()).items()}


def _options(sdist: Path, outcomes: Path) -> list[str]:
    return [
        # The suite's own settings: with ours a warning would be an error.
        *("-c", str(sdist / "pyproject.toml"), "--rootdir", str(sdist)),
        *("-o", "asyncio_default_fixture_loop_scope=function"),
        # Otherwise its package `tests` is taken for ours.
        "--import-mode=importlib",
        *("-p", "no:cacheprovider", "-p", "no:schemathesis"),
        *("-p", "tests.peers.plugin", "--peers-outcomes", str(outcomes)),
        *("--quiet", "--tb=short"),
    ]
