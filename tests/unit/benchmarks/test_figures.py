"""The arithmetic of the benchmark: rows, ratios, and the tax that a claim is made of."""

import pytest

from benchmarks.figures import Figure, rows, tax, taxes
from benchmarks.modes import MODES, UNTRACED, WORKLOADS


def test_a_row_keeps_the_quietest_round_and_the_middle_one() -> None:
    """Noise only adds CPU time, so the minimum is the figure; the median tells how noisy the machine was."""
    found = rows({"contrib_100": {"produce": [112.0, 110.0, 190.0]}})
    assert found == {"contrib_100": {"produce": Figure(minimum=110.0, median=112.0)}}


@pytest.mark.parametrize(
    ("cost", "untraced", "reference", "expected"),
    [
        pytest.param(94.0, 11.5, 110.0, 0.8376, id="cheaper than the reference"),
        pytest.param(194.0, 6.0, 109.0, 1.8252, id="dearer than the reference"),
        pytest.param(11.5, 11.5, 110.0, 0.0, id="free"),
    ],
)
def test_tax_is_what_tracing_adds_in_units_of_what_the_reference_adds(
    cost: float, untraced: float, reference: float, expected: float
) -> None:
    """The untraced cost is taken off both sides."""
    assert tax(cost, untraced, reference) == pytest.approx(expected, abs=1e-4)


def test_no_tax_is_told_where_the_reference_adds_nothing() -> None:
    """A run so short that tracing does not show yields no ratio, and no division by zero."""
    assert tax(12.0, 11.5, 11.5) is None
    assert tax(12.0, 11.5, 11.0) is None


def test_each_tax_compares_rows_of_the_same_sampling_by_their_minimum() -> None:
    """`official_100` is set against contrib at 100 %, `official_0` against contrib at 0 %; other rows have no tax."""
    minima = {UNTRACED: 10.0, "contrib_100": 110.0, "official_100": 90.0, "contrib_0": 30.0, "official_0": 20.0}
    minima |= {"fast_100": 25.0, "fast_0": 15.0}
    found = {mode.name: {load: Figure(minima.get(mode.name, 500.0), 1000.0) for load in WORKLOADS} for mode in MODES}
    assert taxes(found) == {
        "official_100": {"produce": 0.8, "getone": 0.8, "getmany": 0.8},
        "fast_100": {"produce": 0.15, "getone": 0.15, "getmany": 0.15},
        "official_0": {"produce": 0.5, "getone": 0.5, "getmany": 0.5},
        "fast_0": {"produce": 0.25, "getone": 0.25, "getmany": 0.25},
    }
