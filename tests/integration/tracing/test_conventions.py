"""The tracing tests once more, with the names of 1.45, and with both: the files in which names matter, or a sample."""

import os
import subprocess
import sys

import pytest

from tests.runs.sizes import THOROUGH
from tests.support.sources import ROOT

_SAMPLE = (
    "tests/unit/tracing/test_loop.py",
    "tests/unit/tracing/test_processing.py",
    "tests/integration/tracing/test_clusters.py",
)
_WHOLE = (
    "tests/integration/tracing/test_batches.py",
    "tests/integration/tracing/test_receiving.py",
    "tests/integration/tracing/test_sending.py",
    "tests/integration/tracing/test_transactions.py",
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("opt_in", ["messaging", "messaging/dup"])
def test_everything_holds_with_other_names(opt_in: str) -> None:
    """What is written under the names of 1.44 is written under those that the user asks for, and under no others."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--brokers", "embedded"),
            *(*_SAMPLE, *(_WHOLE if THOROUGH else ())),
        ],
        cwd=ROOT,
        env={**os.environ, "SAGATRACE_TEST_SEMCONV": opt_in},
        capture_output=True,
        text=True,
        timeout=2900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
