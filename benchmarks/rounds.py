"""Interleaved rounds: each round measures every mode once, in an order that shifts by one with each round.

So a machine that is slow for a while, and a broker that has grown, affect all modes alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import freight, machine, processes
from benchmarks.figures import Samples
from benchmarks.modes import MODES, WORKLOADS, Mode, Workload
from benchmarks.worker import Order

#: Called before each measurement with its number, the number of measurements, and the mode.
Progress = Callable[[int, int, Mode], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure."""

    rounds: int = 7
    #: Messages in each of a worker's measurements.
    messages: int = 5_000


def rotated(modes: Sequence[Mode], number: int) -> list[Mode]:
    """Return the order of a round."""
    start = number % len(modes)
    return [*modes[start:], *modes[:start]]


def run(plan: Plan, cores: machine.Cores, progress: Progress) -> Samples:
    """Measure every mode in every round.

    Raises:
        processes.Failed: a server or a worker failed, or spans were dropped.
    """
    samples: dict[str, dict[Workload, list[float]]] = {
        mode.name: {workload: [] for workload in WORKLOADS} for mode in MODES
    }
    machine.pin(cores.others)
    with processes.broker() as brokers, processes.sink() as sink:
        asyncio.run(freight.fill(brokers, plan.messages))
        schedule = [mode for number in range(plan.rounds) for mode in rotated(MODES, number)]
        for number, mode in enumerate(schedule):
            progress(number, len(schedule), mode)
            order = Order(mode.name, brokers, f"{sink}/{number}", plan.messages, cores.worker)
            for workload, values in processes.work("benchmarks.worker", [order.encode()]).items():
                samples[mode.name][workload].extend(values)
    return samples
