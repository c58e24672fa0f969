"""Compares the outcomes of two runs of a suite, and the differences with those that are expected."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

#: The result of a test that one of the two runs does not have.
ABSENT: Final = "absent"


@dataclass(frozen=True)
class Outcome:
    """What became of a test.

    Args:
        result: "passed", "failed" or "skipped".
        failure: the first line of what it failed with.
    """

    result: str
    failure: str = ""


@dataclass(frozen=True)
class Difference:
    """A test whose two results differ.

    Args:
        test: its id.
        without: its result without our tracing.
        traced: its result with our tracing.
        reason: why that is right; empty if nobody has said so.
    """

    test: str
    without: str
    traced: str
    reason: str = ""

    @property
    def results(self) -> tuple[str, str, str]:
        """The test and its results, which a reason is for."""
        return self.test, self.without, self.traced


@dataclass(frozen=True)
class Comparison:
    """The differences of two runs.

    Args:
        expected: those that have a reason.
        new: those that have none.
        gone: those that have a reason and did not occur.
    """

    expected: Sequence[Difference]
    new: Sequence[Difference]
    gone: Sequence[Difference]


def parse(text: str, suite: str) -> list[Difference]:
    """Read the expected differences of a suite from TOML: a table for each suite, in it one for each test.

    Raises:
        KeyError: a test has no `without`, `traced` or `reason`.
        tomllib.TOMLDecodeError: the text is not TOML.
    """
    tests = tomllib.loads(text).get(suite, {})
    return [Difference(test, row["without"], row["traced"], row["reason"]) for test, row in tests.items()]


def compare(
    without: Mapping[str, Outcome], traced: Mapping[str, Outcome], expected: Sequence[Difference]
) -> Comparison:
    """Find the tests whose results differ, in the order of the runs.

    A reason is for two results: a test that fails where it was expected to be skipped is a new difference.
    """
    found = [
        Difference(test, _result(without, test), _result(traced, test)) for test in dict.fromkeys([*without, *traced])
    ]
    differing = {difference.results: difference for difference in found if difference.without != difference.traced}
    reasons = {difference.results: difference for difference in expected}
    return Comparison(
        expected=[reasons[results] for results in differing if results in reasons],
        new=[difference for results, difference in differing.items() if results not in reasons],
        gone=[difference for results, difference in reasons.items() if results not in differing],
    )


def _result(outcomes: Mapping[str, Outcome], test: str) -> str:
    return outcomes[test].result if test in outcomes else ABSENT


def table(differences: Sequence[Difference]) -> str:
    """Lay out differences, one a line, each with its reason below it."""
    rows = [("test", "without", "with"), *(difference.results for difference in differences)]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    head, *lines = (f"{test:{widths[0]}}  {without:{widths[1]}}  {traced}" for test, without, traced in rows)
    reasons = [f"    {difference.reason}\n" if difference.reason else "" for difference in differences]
    return "\n".join([head, *(f"{line}\n{reason}".rstrip() for line, reason in zip(lines, reasons, strict=True))])
