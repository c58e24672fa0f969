"""`make peers`: the tests of contrib's instrumentation for aiokafka, without and with ours in its place.

Exit codes: 0, or 1 for a difference without a reason in expected.toml, or 2 if the tests could not be fetched or run.
"""

# ruff: noqa: T201  a command speaks on standard output

import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.peers.differences import Comparison, Outcome, compare, parse, table
from tests.peers.fetching import LOCK, REQUIREMENTS, NotFetched, Pin, package, sdist
from tests.peers.suite import NotRun, run

_SUITE = "opentelemetry-instrumentation-aiokafka"
_WITHOUT_TESTS = "aiokafka"
_EXPECTED = Path(__file__).with_name("expected.toml")


def main() -> int:
    """Fetch the tests, run them twice, and print the differences.

    Returns:
        The exit code.
    """
    try:
        return _compared()
    except (NotFetched, NotRun) as error:
        print(f"make peers: {error}", file=sys.stderr)
        return 2


def _compared() -> int:
    pin = Pin.of(_SUITE, LOCK)
    _say(f"{pin}: fetching its sdist, if it is not there")
    folder = sdist(pin)
    packages = package(Pin.of("opentelemetry-test-utils", REQUIREMENTS))
    without, traced = (_run(folder, packages, traced=traced) for traced in (False, True))
    comparison = compare(without, traced, parse(_EXPECTED.read_text(), _SUITE))
    _report(comparison, traced)
    _look_for_tests(Pin.of(_WITHOUT_TESTS, LOCK))
    return 1 if comparison.new else 0


def _run(folder: Path, packages: Path, *, traced: bool) -> Mapping[str, Outcome]:
    began = time.monotonic()
    outcomes = run(folder, packages, traced=traced)
    results = Counter(outcome.result for outcome in outcomes.values())
    counted = ", ".join(f"{count} {result}" for result, count in sorted(results.items(), reverse=True))
    _say(f"{'with' if traced else 'without'} our tracing: {counted} in {time.monotonic() - began:.0f} s")
    return outcomes


def _report(comparison: Comparison, traced: Mapping[str, Outcome]) -> None:
    if comparison.expected:
        _say(f"\nexpected differences\n\n{table(comparison.expected)}")
    if comparison.new:
        _say(f"\nNEW differences, without a reason in {_EXPECTED.name}\n\n{table(comparison.new)}\n")
        for difference in comparison.new:
            if failure := traced.get(difference.test, Outcome("")).failure:
                _say(f"{difference.test}\n    {failure}")
    if comparison.gone:
        _say(f"\nno longer there: take them out of {_EXPECTED.name}\n\n{table(comparison.gone)}")
    _say(f"\n{len(comparison.new)} new, {len(comparison.expected)} expected, {len(comparison.gone)} no longer there")


def _look_for_tests(pin: Pin) -> None:
    """Say that a client's own tests are left out, as its sdist has none, or that a release has brought some."""
    has_tests = any(path.name.startswith("test") for path in sdist(pin).rglob("*.py"))
    _say(f"{pin}: left out, its sdist has {'tests, which nothing here runs yet' if has_tests else 'no tests'}")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
