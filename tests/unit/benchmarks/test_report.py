"""The report of a benchmark: a table for people, JSON for programs."""

import json

import pytest

from benchmarks.figures import Figure, taxes
from benchmarks.modes import MODES, WORKLOADS
from benchmarks.report import Report
from benchmarks.rounds import Plan

_MINIMA = {
    "untraced": 10.0,
    "contrib_100": 110.0,
    "official_100": 85.0,
    "contrib_0": 30.0,
    "official_0": 19.0,
    "fast_100": 25.0,
    "loop_100": 20.0,
    "fast_0": 15.0,
    "fast_100_metrics": 60.0,
    "fast_100_journal": 40.0,
    "official_100_metrics": 130.0,
    "official_100_journal": 100.0,
    "faststream": 25.0,
    "faststream_100": 180.0,
    "confluent": 4.0,
    "confluent_100": 96.0,
}
_MACHINE = {
    "cpu": "A processor",
    "cores": 2,
    "system": "Linux x86_64",
    "pinned": True,
    "versions": {"python": "CPython 3.11.7", "aiokafka": "0.14.0"},
}
_IMPORTS = {"tracing": 10.0, "contrib": 100.0, "tracing_instrumented": 150.0, "contrib_instrumented": 120.0}


@pytest.fixture
def report() -> Report:
    """A run in which every workload of a row cost the same."""
    rows = {mode.name: {load: Figure(_MINIMA[mode.name], 200.0) for load in WORKLOADS} for mode in MODES}
    return Report(Plan(rounds=7, messages=15_000), _MACHINE, rows, taxes(rows), encoder=11.5, imports=_IMPORTS)


def test_json_has_the_rows_and_the_taxes(report: Report) -> None:
    """Rows by name and workload with minimum and median; a tax for each sampling; the machine and the plan."""
    found = json.loads(report.json())
    assert set(found["rows"]) == set(_MINIMA)
    assert found["rows"]["contrib_100"]["getmany"] == {"min": 110.0, "median": 200.0}
    assert found["tax"] == {
        "official_100": {"produce": 0.75, "getone": 0.75, "getmany": 0.75},
        "fast_100": {"produce": 0.15, "getone": 0.15, "getmany": 0.15},
        "official_0": {"produce": 0.45, "getone": 0.45, "getmany": 0.45},
        "fast_0": {"produce": 0.25, "getone": 0.25, "getmany": 0.25},
    }
    assert (found["encoder"], found["imports"]) == (11.5, _IMPORTS)
    assert (found["rounds"], found["messages"], found["machine"]) == (7, 15_000, _MACHINE)


def test_the_table_has_a_line_for_each_row(report: Report) -> None:
    """Each line shows minimum, median and the multiple of the untraced cost; the taxes follow."""
    lines = report.text().splitlines()
    (line,) = [line for line in lines if line.startswith("contrib, 100 % sampled")]
    assert line.split()[-12:] == ["110.0", "/", "200.0", "11.0x"] * 3
    taxes = [["0.75"] * 3, ["0.15"] * 3, ["0.45"] * 3, ["0.25"] * 3]
    assert [line.split()[-3:] for line in lines[-7:-3]] == taxes
    assert lines[-2] == "the official encoder takes 11.5 times the CPU of ours"
    assert lines[-1] == "import tracing takes 10 ms, 0.10 of contrib's 100 ms; with instrument() 1.25"


def test_the_table_names_the_machine(report: Report) -> None:
    """A figure without its machine says nothing."""
    first, second, third, *_ = report.text().splitlines()
    assert first.startswith("A processor, 2 cores, Linux x86_64")
    assert second == "python CPython 3.11.7, aiokafka 0.14.0"
    assert third == "7 rounds of 3 measurements of 15000 messages"
