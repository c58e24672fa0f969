"""What the services record, and as whom."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest

import tracing
from services.messaging import telemetry
from services.messaging.errors import ConfigurationError
from tracing.telemetry import current


@pytest.fixture
def uninstrumented() -> Iterator[None]:
    """End the instrumentation of the test."""
    yield
    tracing.uninstrument()


@pytest.mark.usefixtures("uninstrumented")
@pytest.mark.parametrize(("value", "wanted"), [("", False), ("false", False), ("true", True), ("1", True)])
def test_one_setting_decides_about_polls_and_commits(
    monkeypatch: pytest.MonkeyPatch, value: str, *, wanted: bool
) -> None:
    """Polls and commits have spans if SAGATRACE_ALL_SPANS asks for them, and otherwise none."""
    monkeypatch.setenv("SAGATRACE_ALL_SPANS", value)
    telemetry.instrument()
    options = current().options
    assert (options.poll_spans, options.commit_spans) == (wanted, wanted)


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that is neither yes nor no is refused by the variable's name."""
    monkeypatch.setenv("SAGATRACE_ALL_SPANS", "some")
    with pytest.raises(ConfigurationError, match="SAGATRACE_ALL_SPANS"):
        telemetry.instrument()


def test_the_services_say_which_version_of_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each service's resource has the namespace of the system and the version of its distribution."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(tracing, "configure", lambda name, **rest: given.update(rest, name=name))
    telemetry.configure("oms")
    assert (given["name"], given["service_namespace"]) == ("oms", "sagatrace")
    assert given["service_version"] == version("sagatrace-services")
