"""The real parts that tests need: a missing one skips on a laptop and fails where it is required.

`SAGATRACE_REQUIRE` lists the parts that must be there, separated by commas or spaces.
"""

from collections.abc import Mapping
from typing import NoReturn

import pytest

BROKER = "broker"

REQUIRED = pytest.StashKey[frozenset[str]]()
"""Where the session keeps what `SAGATRACE_REQUIRE` named when pytest started."""


def required_parts(environment: Mapping[str, str]) -> frozenset[str]:
    """Read the list of required parts."""
    return frozenset(environment.get("SAGATRACE_REQUIRE", "").replace(",", " ").split())


def missing(config: pytest.Config, part: str, reason: str) -> NoReturn:
    """Skip what needs a part that is not there, or fail it where the part is required."""
    if part in config.stash[REQUIRED]:
        pytest.fail(f"{part} is required by SAGATRACE_REQUIRE: {reason}", pytrace=False)
    pytest.skip(f"no {part}: {reason}")
