"""A pytest plugin inside a suite: puts our instrumentor in the place of contrib's, and writes the outcomes."""

import json
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import opentelemetry.instrumentation.aiokafka as contrib
import pytest

import tracing
from tests.peers.differences import Outcome

_OUTCOMES = pytest.StashKey[dict[str, Outcome]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that `tests.peers.suite` sets."""
    parser.addoption("--peers-outcomes", type=Path, help="the file that gets the outcome of each test")
    parser.addoption("--peers-traced", action="store_true", help="run with our tracing")


def pytest_configure(config: pytest.Config) -> None:
    """Swap the instrumentors, as a user does who changes the import; no test file is imported yet."""
    config.stash[_OUTCOMES] = {}
    if config.getoption("--peers-traced"):
        setattr(contrib, "AIOKafkaInstrumentor", tracing.KafkaInstrumentor)  # noqa: B010 - mypy lets nobody assign a class


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the outcome of a test: that of its call, or of a fixture that failed."""
    report = yield
    outcomes = item.config.stash[_OUTCOMES]
    if report.when == "call" or (report.outcome != "passed" and _passed_so_far(outcomes, item.nodeid)):
        outcomes[item.nodeid] = _outcome(report)
    return report


def pytest_runtest_teardown() -> None:
    """Take tracing off if a test that failed has left it on: each outcome is of the test alone."""
    tracing.uninstrument()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Write the outcomes, a JSON object by the tests' ids."""
    outcomes = {test: asdict(outcome) for test, outcome in config.stash[_OUTCOMES].items()}
    config.getoption("--peers-outcomes").write_text(json.dumps(outcomes))


def _passed_so_far(outcomes: dict[str, Outcome], test: str) -> bool:
    return test not in outcomes or outcomes[test].result == "passed"


def _outcome(report: pytest.TestReport) -> Outcome:
    crash: Any = getattr(report.longrepr, "reprcrash", None)
    return Outcome(report.outcome, crash.message.partition("\n")[0] if crash and report.failed else "")
