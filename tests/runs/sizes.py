"""How much is run of what takes long: a sample in a usual run, all of it where `SAGATRACE_TEST_THOROUGH` is set.

The variable is read at import, because the tests' environment is scrubbed before they run.
"""

import os

import pytest

THOROUGH = bool(os.environ.get("SAGATRACE_TEST_THOROUGH"))
"""Whether all is run, as in `.ci/run`."""

thorough = pytest.mark.skipif(not THOROUGH, reason="runs with SAGATRACE_TEST_THOROUGH=1, as in .ci/run")
"""Marks a test that a usual run leaves out."""


def size(sample: int, whole: int, variable: str | None = None) -> int:
    """Choose how much input a test makes: what an environment variable says, or else the sample or the whole."""
    asked = os.environ.get(variable) if variable else None
    return int(asked) if asked else whole if THOROUGH else sample
