"""The differences of two runs of a suite, and the reasons for them."""

import tomllib

import pytest

from tests.peers.differences import Difference, Outcome, compare, parse, table
from tests.peers.fetching import LOCK, REQUIREMENTS, NotFetched, Pin

_PASSED = Outcome("passed")
_FAILED = Outcome("failed", "AssertionError: 1 != 5")
_A_FAILS = Difference("a", "passed", "failed")
_A_FAILS_RIGHTLY = Difference("a", "passed", "failed", "It asks for another name.")


def test_equal_results_are_no_difference() -> None:
    """A test that passes twice, or fails twice, is not reported."""
    comparison = compare({"a": _PASSED, "b": _FAILED}, {"a": _PASSED, "b": Outcome("failed", "other")}, [])
    assert (comparison.expected, comparison.new, comparison.gone) == ([], [], [])


def test_a_difference_without_a_reason_is_new() -> None:
    """A test that fails with our tracing alone is new, and one that passes with it alone is new as well."""
    comparison = compare({"a": _PASSED, "b": _FAILED}, {"a": _FAILED, "b": _PASSED}, [])
    assert comparison.new == [_A_FAILS, Difference("b", "failed", "passed")]


def test_a_difference_with_a_reason_is_expected() -> None:
    """An expected difference is reported with its reason, and is not new."""
    comparison = compare({"a": _PASSED}, {"a": _FAILED}, [_A_FAILS_RIGHTLY])
    assert (comparison.expected, comparison.new, comparison.gone) == ([_A_FAILS_RIGHTLY], [], [])


def test_a_reason_is_for_two_results() -> None:
    """A test that is skipped where it was expected to fail is new, and what was expected is gone."""
    comparison = compare({"a": _PASSED}, {"a": Outcome("skipped")}, [_A_FAILS_RIGHTLY])
    assert comparison.expected == []
    assert comparison.new == [Difference("a", "passed", "skipped")]
    assert comparison.gone == [_A_FAILS_RIGHTLY]


def test_an_expected_difference_that_did_not_occur_is_gone() -> None:
    """A difference that no longer occurs is reported, also if its test is no longer there."""
    assert compare({"a": _PASSED}, {"a": _PASSED}, [_A_FAILS_RIGHTLY]).gone == [_A_FAILS_RIGHTLY]
    assert compare({}, {}, [_A_FAILS_RIGHTLY]).gone == [_A_FAILS_RIGHTLY]


def test_a_test_that_one_run_does_not_have_is_a_difference() -> None:
    """A test that did not run with our tracing is absent there, not passed."""
    assert compare({"a": _PASSED}, {}, []).new == [Difference("a", "passed", "absent")]
    assert compare({}, {"a": _PASSED}, []).new == [Difference("a", "absent", "passed")]


def test_expected_differences_are_those_of_the_suite() -> None:
    """The file has a table for each suite, and each test in it names both results and the reason."""
    text = '[s."t.py::a"]\nwithout = "passed"\ntraced = "failed"\nreason = "r"\n[other."t.py::b"]\nreason = "r"\n'
    assert parse(text, "s") == [Difference("t.py::a", "passed", "failed", "r")]
    assert parse(text, "no-such-suite") == []
    with pytest.raises(KeyError, match="without"):
        parse(text, "other")
    with pytest.raises(tomllib.TOMLDecodeError):
        parse("[s", "s")


def test_the_table_has_a_line_for_each_test() -> None:
    """The table has the results in columns, and below a test the reason, if there is one."""
    rows = [Difference("tests/a.py::a", "passed", "failed", "It asks for another name."), _A_FAILS]
    assert table(rows).splitlines() == [
        "test           without  with",
        "tests/a.py::a  passed   failed",
        "    It asks for another name.",
        "a              passed   failed",
    ]


def test_a_suite_has_the_version_of_the_lock() -> None:
    """What a suite needs is pinned by hash, in the version that the lock has of OpenTelemetry."""
    assert "--hash=sha256:" in Pin.of("opentelemetry-test-utils", REQUIREMENTS).lines
    assert "--hash=sha256:" in Pin.of("aiokafka", LOCK).lines
    assert (
        Pin.of("opentelemetry-test-utils", REQUIREMENTS).version
        == Pin.of("opentelemetry-instrumentation", LOCK).version
    )
    with pytest.raises(NotFetched, match="no-such-package is not in"):
        Pin.of("no-such-package", LOCK)
