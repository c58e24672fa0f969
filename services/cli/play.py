"""Plays the scenarios, all at the same time, each to its end."""

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

END_S = 20.0
"""How long a saga may take, in seconds."""

_INTERVAL_S = 0.1


class Stopped(Exception):
    """The demo was interrupted while a scenario was played."""


@dataclass(frozen=True, slots=True)
class Played:
    """What became of a scenario; `placed` is None if its order was not accepted."""

    scenario: Scenario
    placed: PlacedOrder | None
    outcome: str

    @property
    def is_as_told(self) -> bool:
        """Tell whether the saga ended as its scenario says."""
        return self.outcome == self.scenario.outcome


@dataclass(frozen=True)
class Player:
    """Plays scenarios.

    Args:
        api: The order API.
        progress: Who is told.
        check: Called again and again while it waits, to raise when there is nothing to wait for any more.
    """

    api: OrderApi
    progress: Progress
    check: Callable[[], None]

    def play(self, scenarios: Sequence[Scenario]) -> list[Played]:
        """Play all scenarios, and return when the last has ended or its time is over."""
        stop = threading.Event()
        pool = ThreadPoolExecutor(len(scenarios), thread_name_prefix="scenario")
        try:
            playing = [pool.submit(self._play_one, scenario, stop) for scenario in scenarios]
            while not all(one.done() for one in playing):
                self.check()
                stop.wait(_INTERVAL_S)
            return [one.result() for one in playing]
        finally:
            stop.set()
            # An interrupt does not wait for requests that have no answer yet.
            pool.shutdown(wait=False, cancel_futures=True)

    def _play_one(self, scenario: Scenario, stop: threading.Event) -> Played:
        placed = None
        try:
            placed = self.api.place(scenario.order)
            self.progress.tell(scenario.name, f"order {placed.order_id} is placed")
            if scenario.request:
                self._await(scenario, placed, {scenario.request_at, *ENDS}, stop)
                self.api.request(placed.order_id, scenario.request)
                self.progress.tell(scenario.name, f"{scenario.request} requested")
            outcome = self._await(scenario, placed, ENDS.keys(), stop)
        except ApiError as error:
            outcome = str(error)
        self.progress.tell(scenario.name, outcome, done=True)
        return Played(scenario, placed, outcome)

    def _await(self, scenario: Scenario, placed: PlacedOrder, wanted: Container[str], stop: threading.Event) -> str:
        deadline = time.monotonic() + END_S
        while (status := self.api.status(placed.order_id)) not in wanted and time.monotonic() < deadline:
            self.progress.tell(scenario.name, status)
            if stop.wait(_INTERVAL_S):
                raise Stopped(scenario.name)
        return status
