"""Compute the figures of the report from the samples of all rounds; pure arithmetic.

The minimum is the figure to compare, because noise of the machine only adds CPU time. The median shows the noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.modes import MODES, UNTRACED, WORKLOADS, Mode, Workload

#: Microseconds of CPU a message, by row and workload; one value a measurement.
Samples = Mapping[str, Mapping[Workload, Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Figure:
    """Microseconds of CPU that a message took."""

    minimum: float
    median: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Figure:
        """Sum up the measurements."""
        return cls(min(samples), median(samples))


Rows = dict[str, dict[Workload, Figure]]
Taxes = dict[str, dict[Workload, float | None]]


def rows(samples: Samples) -> Rows:
    """Sum up every row."""
    return {name: {load: Figure.of(values) for load, values in loads.items()} for name, loads in samples.items()}


def tax(cost: float, untraced: float, reference: float) -> float | None:
    """Return what a row adds to an untraced message, over what its reference adds.

    None if the reference adds nothing: the run was too short to tell them apart.
    """
    return None if reference <= untraced else (cost - untraced) / (reference - untraced)


def taxes(found: Rows, modes: Sequence[Mode] = MODES) -> Taxes:
    """Return the tax of each row that has a reference, computed from the minima."""
    untraced = found[UNTRACED]
    return {
        mode.name: {
            load: tax(found[mode.name][load].minimum, untraced[load].minimum, found[mode.reference][load].minimum)
            for load in WORKLOADS
        }
        for mode in modes
        if mode.reference is not None
    }
