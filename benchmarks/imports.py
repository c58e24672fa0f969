"""Measure how long it takes to import the library and contrib's package, each alone and with what `instrument()` loads.

Each import happens in a fresh interpreter under `-X importtime`, the four in turn. The figure is the time of all
modules that were not loaded when the interpreter started.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from benchmarks.processes import Failed

#: The statements to run, by the name of their figure.
STATEMENTS: Final[Mapping[str, str]] = {
    "tracing": "import tracing",
    "contrib": "import opentelemetry.instrumentation.aiokafka",
    "tracing_instrumented": "import tracing; tracing.instrument()",
    "contrib_instrumented": (
        "from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor; AIOKafkaInstrumentor().instrument()"
    ),
}
_MODULE: Final = re.compile(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", re.MULTILINE)
#: The last module that the interpreter loads at its start.
_LAST_OF_START: Final = "site"
_LIMIT_S: Final = 60.0

#: Milliseconds by statement, one value a round.
Timings = Mapping[str, Sequence[float]]
#: The median in milliseconds by statement.
Imports = Mapping[str, float]


def imported_ms(listing: str) -> float:
    """Return the milliseconds that a listing of `-X importtime` shows after the interpreter's start."""
    modules = _MODULE.findall(listing)
    names = [name for _, name in modules]
    first = names.index(_LAST_OF_START) + 1
    return sum(int(took) for took, _ in modules[first:]) / 1000


def measure(rounds: int) -> Timings:
    """Run every statement once a round.

    Raises:
        Failed: an import failed.
    """
    timings: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(rounds):
        for name, statement in STATEMENTS.items():
            timings[name].append(imported_ms(_listing(statement)))
    return timings


def _listing(statement: str) -> str:
    done = subprocess.run(  # noqa: S603 - the statements above
        [sys.executable, "-X", "importtime", "-c", statement],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise Failed(f"{statement} failed: {done.stderr.splitlines()[-1]}")
    return done.stderr


def medians(timings: Timings) -> Imports:
    """Return the median of each statement."""
    return {name: median(values) for name, values in timings.items()}


def ratios(found: Imports) -> tuple[float, float]:
    """Return our time over contrib's, for the import alone and with `instrument()`."""
    return found["tracing"] / found["contrib"], found["tracing_instrumented"] / found["contrib_instrumented"]
