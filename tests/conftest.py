"""Fixtures of all tests: a clean environment, a topic of one's own, and the servers of `tests.servers`."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from uuid import uuid4

import pytest
from hypothesis import settings

from tests.runs.sizes import size
from tests.support.broker import create_topics
from tests.support.conventions import OPT_IN
from tracing import kafka_span, series

pytest_plugins = ["tests.runs.bounds", "tests.runs.division", "tests.servers.fixtures"]

_SCRUBBED = re.compile(r"OTEL_.*|KAFKA_.*|SAGATRACE_.*|DATABASE_URL")

# A shared machine is slow at times: a bound on one example's time would fail tests that are right.
settings.register_profile("sagatrace", deadline=None, max_examples=size(25, 100))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run choose for how long the tests of an outage take a server away."""
    parser.addoption("--outage", type=float, default=15.0, metavar="SECONDS", help="how long a server is taken away")


def pytest_configure() -> None:
    """Let no example of a property have a time limit."""
    settings.load_profile("sagatrace")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was skipped, a line for each reason: pytest's own list has a line for each place."""
    reasons = Counter(str(report.longrepr[2]) for report in terminalreporter.getreports("skipped"))
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped {count:4}  {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """Run every test, and every process it starts, without the settings of the developer's shell."""
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if _SCRUBBED.fullmatch(name):
                environment.delenv(name)
        # A service that a test kills must not tell the next test's back end.
        environment.setenv("SAGATRACE_JOURNAL_DIR", "none")
        if OPT_IN:
            environment.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", OPT_IN)
        # As the services do it; a test of loops asks for them.
        environment.setenv("SAGATRACE_PROCESS_SPANS", "explicit")
        yield


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic that no other test uses and whose name tells the test it belongs to; it has 4 partitions."""
    test = re.sub(r"[^a-zA-Z0-9]+", "-", request.node.name).strip("-").lower()[:80]
    name = f"{test}.{uuid4().hex[:12]}"
    if "broker" in request.fixturenames:
        create_topics(request.getfixturevalue("broker"), name)
    return name


if os.environ.get("SAGATRACE_TEST_OFFICIAL_SPANS"):
    # As with a new SDK that lacks one of the names; tests/integration/tracing/test_official_spans.py runs it so.
    kafka_span.PRIVATE = (*kafka_span.PRIVATE, "_no_such_name")
    series.PRIVATE = (*series.PRIVATE, "_no_such_name")
