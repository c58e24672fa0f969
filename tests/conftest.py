"""Fixtures of all tests: a clean environment, the embedded broker, a topic of one's own."""

import importlib.util
import os
import re
from collections.abc import Iterator
from uuid import uuid4

import pytest
from hypothesis import settings

from tests.support import parts
from tests.support.broker import embedded_broker

_SCRUBBED = re.compile(r"OTEL_.*|KAFKA_.*|SAGATRACE_.*|DATABASE_URL")

# A shared machine is slow at times: a bound on one example's time would fail tests that are right.
settings.register_profile("sagatrace", deadline=None)


def pytest_configure(config: pytest.Config) -> None:
    """Keep what the environment says of the session before the tests' environment is scrubbed."""
    settings.load_profile("sagatrace")
    config.stash[parts.REQUIRED] = parts.required_parts(os.environ)


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """Run every test, and every process it starts, without the settings of the developer's shell."""
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if _SCRUBBED.fullmatch(name):
                environment.delenv(name)
        yield


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Iterator[str]:
    """The bootstrap address of a broker that speaks the Kafka protocol, one for the session.

    Topics appear when they are first used, with 4 partitions; joining a group takes 3 seconds, and a group holds one
    member.
    """
    if importlib.util.find_spec("confluent_kafka") is None:
        parts.missing(request.config, parts.BROKER, "install the extra: pip install 'sagatrace[demo]'")
    with embedded_broker() as address:
        yield address


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic name that no other test uses and that tells the test it belongs to."""
    test = re.sub(r"[^a-zA-Z0-9]+", "-", request.node.name).strip("-").lower()[:80]
    return f"{test}.{uuid4().hex[:12]}"
