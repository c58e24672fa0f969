"""Run the demo's scenarios, all at the same time, each to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from services.cli.order_api import ApiError, OrderApi, PlacedOrder
from services.cli.progress import Progress
from services.cli.scenarios import Scenario
from services.cli.traces.check import ENDS

END_S = 120.0
"""How long a saga may take, in seconds; it takes 1 on an idle machine."""

_INTERVAL_S = 0.1


class Stopped(Exception):
    """The demo was interrupted while a scenario was running."""


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """The outcome of a scenario; `placed` is None if its order was not accepted."""

    scenario: Scenario
    placed: PlacedOrder | None
    outcome: str

    @property
    def is_expected(self) -> bool:
        """Whether the saga ended as its scenario says."""
        return self.outcome == self.scenario.outcome


@dataclass(frozen=True)
class Player:
    """Runs scenarios.

    Args:
        api: The order API.
        progress: Shows what each scenario is doing.
        check: Called repeatedly while waiting; it raises if there is nothing left to wait for.
    """

    api: OrderApi
    progress: Progress
    check: Callable[[], None]

    def play(self, scenarios: Sequence[Scenario]) -> list[ScenarioResult]:
        """Run all scenarios, and return when the last one has ended or its time is up."""
        stop = threading.Event()
        pool = ThreadPoolExecutor(len(scenarios), thread_name_prefix="scenario")
        try:
            running = [pool.submit(self._play_one, scenario, stop) for scenario in scenarios]
            while not all(one.done() for one in running):
                self.check()
                stop.wait(_INTERVAL_S)
            return [one.result() for one in running]
        finally:
            stop.set()
            # An interrupt does not wait for requests that are still unanswered.
            pool.shutdown(wait=False, cancel_futures=True)

    def _play_one(self, scenario: Scenario, stop: threading.Event) -> ScenarioResult:
        placed = None
        try:
            placed = self.api.place(scenario.order)
            self.progress.update(scenario.name, f"order {placed.order_id} is placed")
            if scenario.request:
                self._await(scenario, placed, {scenario.request_at, *ENDS}, stop)
                self.api.request(placed.order_id, scenario.request)
                self.progress.update(scenario.name, f"{scenario.request} requested")
            outcome = self._await(scenario, placed, ENDS.keys(), stop)
        except ApiError as error:
            outcome = str(error)
        self.progress.update(scenario.name, outcome, done=True)
        return ScenarioResult(scenario, placed, outcome)

    def _await(self, scenario: Scenario, placed: PlacedOrder, statuses: Container[str], stop: threading.Event) -> str:
        deadline = time.monotonic() + END_S
        while (status := self.api.status(placed.order_id)) not in statuses and time.monotonic() < deadline:
            self.progress.update(scenario.name, status)
            if stop.wait(_INTERVAL_S):
                raise Stopped(scenario.name)
        return status
