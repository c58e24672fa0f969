"""One measurement: a fresh process that runs every workload in one mode and prints its figures as JSON.

It measures the CPU time of the whole process, including the exporter's thread, from the first message until all spans
are exported, with the garbage collector on. Each workload runs once, shorter, to warm up, and is then measured a few
times. If the receiver did not get exactly the spans that the mode makes, the run fails: the figures would be those of
another program.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from dataclasses import asdict, dataclass
from time import process_time_ns
from typing import Final

from benchmarks import freight, machine, pipeline, sink, workloads
from benchmarks.modes import MODES, WORKLOADS, Mode, Tally, Workload, expected_spans, spare_polls
from benchmarks.processes import Failed

_WARM_UP: Final = 300
#: Measurements of each workload in one process: a short one is more likely to find a quiet moment of the machine.
REPEATS: Final = 3
#: Seconds for one workload.
_LIMIT_S: Final = 90.0
_NS_A_US: Final = 1_000


@dataclass(frozen=True, slots=True)
class Order:
    """The instructions for a worker."""

    mode: str
    brokers: str
    #: This worker's address at the sink: `http://host:port/WORKER`.
    sink: str
    messages: int
    #: The core to run on, if processes can be pinned.
    core: int | None = None

    def encode(self) -> str:
        """Return the order as the one argument of the program."""
        return json.dumps(asdict(self))


class Worker:
    """The process of one mode."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._mode: Mode = next(mode for mode in MODES if mode.name == order.mode)
        self._pipeline = pipeline.Pipeline(order.sink, order.messages, self._mode)
        pipeline.instrument(self._mode)
        handler = pipeline.handler_of(self._mode)
        topic, traced = freight.topic_of(self._mode), self._mode.instrumentation == "own"
        self._site = workloads.Site(order.brokers, topic, handler, traced=traced)
        self._open = pipeline.workloads_of(self._mode.client)

    async def measure(self) -> dict[Workload, list[float]]:
        """Return microseconds of CPU a message for each workload, one value a measurement.

        Raises:
            Failed: there are too few or too many spans.
        """
        messages = self._order.messages
        figures: dict[Workload, list[float]] = {}
        for workload in WORKLOADS:
            await self._run(workload, min(_WARM_UP, messages))
            figures[workload] = [await self._run(workload, messages) / _NS_A_US / messages for _ in range(REPEATS)]
        self._pipeline.close()
        return figures

    async def _run(self, workload: Workload, messages: int) -> int:
        """Run a workload and return nanoseconds of CPU."""
        before = sink.received(self._order.sink)
        async with self._open[workload](self._site) as run, asyncio.timeout(_LIMIT_S):
            gc.collect()
            with pipeline.ambient(self._mode, workload):
                started = process_time_ns()
                done = await run(messages)
                self._pipeline.flush()
                spent = process_time_ns() - started
        self._pipeline.flush()  # the last span of a loop has ended when the consumer stopped
        self._check(workload, done, sink.received(self._order.sink) - before)
        return spent

    def _check(self, workload: Workload, done: Tally, got: int) -> None:
        expected = expected_spans(self._mode, workload, done)
        most = expected + spare_polls(self._mode, workload, done)
        if not expected <= got <= most:
            due = f"{expected}" if most == expected else f"{expected} to {most}"
            raise Failed(f"{self._mode.name}, {workload}: {due} spans were due, {got} arrived")


def main() -> None:
    """Follow the instructions in the first argument."""
    order = Order(**json.loads(sys.argv[1]))
    machine.pin(frozenset() if order.core is None else frozenset({order.core}))
    print(json.dumps(asyncio.run(Worker(order).measure())))


if __name__ == "__main__":
    main()
