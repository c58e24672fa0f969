"""The tracing tests once more, with an SDK that is not built as `kafka_span` knows it: all of them, or a sample."""

import os
import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider

from tests.runs.sizes import THOROUGH
from tests.support.sources import ROOT
from tracing import kafka_span
from tracing.options import Options
from tracing.telemetry import Telemetry

_HERE = "tests/integration/tracing/test_official_spans.py"
_WHOLE = ("tests/unit/tracing", "tests/integration/tracing")
_SAMPLE = (
    "tests/unit/tracing/test_processing.py",
    "tests/unit/tracing/test_series.py",
    "tests/integration/tracing/test_sending.py",
    f"{_HERE}::test_the_mode_of_this_run_is_the_one_it_is_told",
)
#: What holds for spans of either kind, or has nothing to do with them.
_APART = ("test_frameworks.py", "test_processor.py", "test_package.py", "test_provider.py", "test_journal.py")


@pytest.mark.timeout(600)
def test_everything_holds_where_the_sdks_private_names_are_missing() -> None:
    """Each test of the package passes with the SDK's own spans, too; in a usual run, each of three files."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *(_WHOLE if THOROUGH else _SAMPLE),
            *("--deselect", f"{_HERE}::test_everything_holds_where_the_sdks_private_names_are_missing"),
            *(f"--ignore-glob=*/{name}" for name in _APART),
        ],
        cwd=ROOT,
        env={**os.environ, "SAGATRACE_TEST_OFFICIAL_SPANS": "1", "SAGATRACE_TEST_THOROUGH": "1" if THOROUGH else ""},
        capture_output=True,
        text=True,
        timeout=5800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout


def test_the_mode_of_this_run_is_the_one_it_is_told() -> None:
    """Spans are lean in the usual run, and the SDK's where the names are missing."""
    provider = TracerProvider(shutdown_on_exit=False)
    spans = Telemetry(Options(tracer_provider=provider)).spans
    spans._look()
    assert (spans._starter is None) == ("_no_such_name" in kafka_span.PRIVATE)
