"""The real servers, and the browser, that tests need: where each is, and what happens without it.

A server is taken from an address in the environment, otherwise from what `make servers` built. A missing one skips its
tests, or fails them if it is required.

`SAGATRACE_REQUIRE` lists the servers that are required, separated by commas or spaces.
"""

from collections.abc import Mapping
from typing import NoReturn

import pytest

BROKER = "broker"

ADDRESS_VARIABLES = {
    "kafka": "SAGATRACE_TEST_KAFKA",
    "kafka35": "SAGATRACE_TEST_KAFKA35",
    "postgres": "SAGATRACE_TEST_POSTGRES",
    "jaeger": "SAGATRACE_TEST_JAEGER",
    "collector": "SAGATRACE_TEST_COLLECTOR",
    "prometheus": "SAGATRACE_TEST_PROMETHEUS",
    "chromium": "SAGATRACE_TEST_CHROMIUM",
}
"""Part -> the variable with the address of one that runs, or a program's path; CONTRIBUTING.md has the form of each."""

REQUIRED = pytest.StashKey[frozenset[str]]()
"""Where the session keeps what `SAGATRACE_REQUIRE` named when pytest started."""

ADDRESSES = pytest.StashKey[dict[str, str]]()
"""Where the session keeps part -> address, as the environment had them when pytest started."""


def required_parts(environment: Mapping[str, str]) -> frozenset[str]:
    """Read the list of required servers."""
    return frozenset(environment.get("SAGATRACE_REQUIRE", "").replace(",", " ").split())


def addresses(environment: Mapping[str, str]) -> dict[str, str]:
    """Read the addresses of the servers that run already; an empty one counts as none."""
    return {part: environment[name] for part, name in ADDRESS_VARIABLES.items() if environment.get(name)}


def missing(config: pytest.Config, part: str, reason: str) -> NoReturn:
    """Skip a test whose server is missing, or fail it if the server is required."""
    if part in config.stash[REQUIRED]:
        pytest.fail(f"{part} is required by SAGATRACE_REQUIRE: {reason}", pytrace=False)
    pytest.skip(f"no {part}: {reason}")
