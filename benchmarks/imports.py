"""What importing the library takes, next to contrib's package, and both again with all that `instrument()` loads.

Each import happens in a fresh interpreter under `-X importtime`, the four in turn. The figure is the time of all
modules that the interpreter did not have at its start.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from benchmarks.processes import Failed

#: What is run, by the name of its figure.
STATEMENTS: Final[Mapping[str, str]] = {
    "tracing": "import tracing",
    "contrib": "import opentelemetry.instrumentation.aiokafka",
    "tracing_instrumented": "import tracing; tracing.instrument()",
    "contrib_instrumented": (
        "from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor; AIOKafkaInstrumentor().instrument()"
    ),
}
_MODULE: Final = re.compile(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", re.MULTILINE)
#: The last module of the interpreter's own start.
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
    """Return what ours takes in units of contrib's: the import alone, and with `instrument()`."""
    return found["tracing"] / found["contrib"], found["tracing_instrumented"] / found["contrib_instrumented"]
