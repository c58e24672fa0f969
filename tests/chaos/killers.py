"""Killers: one for each instance, with a plan of its own that follows from the seed, and a number of kills for all.

They wait for progress: a kill that waited for time would hit a fast machine in its work and a slow one in its start.
Progress is what the sagas have moved, anywhere. A plan says what is done to an instance, and after how much of it:

| blow | what happens |
|---|---|
| crash | the process is started with a crash point, and meets it; one that it does not come to ends in a kill |
| kill | SIGKILL after some moves; or at once, while it is still starting |
| pause | SIGSTOP, for so long that its group and its leases have given it up, then SIGCONT |
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from services.messaging.crash_points import CrashPoint, Side
from tests.chaos.customers import Customers
from tests.chaos.points import RARE, WRITES
from tests.chaos.processes import READY, READY_S, Instance
from tests.support.eventually import eventually

# Longer than a session and a lease of the system under chaos, in seconds: whoever is paused is given up.
_PAUSE_S = 2.0
_END_S = 30.0
_PROGRESS_S = 60.0
# The longest that an instance lives, in moves of sagas; most live shorter.
_MOST_MOVES = 60


@dataclass(frozen=True)
class Blow:
    """What is done to an instance.

    Args:
        moves: After how many moves of sagas since it was ready.
        crash_at: The crash point, for a crash.
        early: Whether it is done while the process still starts.
        pauses: How often it is paused before.
    """

    moves: int
    crash_at: CrashPoint | None = None
    early: bool = False
    pauses: int = 0


def plan(instance: Instance, chance: random.Random) -> Iterator[Blow]:
    """Yield the blows for one instance, endlessly; the same for the same seed."""
    writes = [write for write in WRITES[instance.service] if write not in RARE]
    while True:
        kind, moves = chance.random(), 1 + int(_MOST_MOVES * chance.random() ** 2)
        point = CrashPoint(chance.choice(writes), chance.choice(list(Side)), chance.randint(1, 4))
        if kind < 0.5:  # half of all
            yield Blow(moves + 20, crash_at=point)
        else:
            yield Blow(moves, early=kind > 0.95, pauses=int(kind > 0.8))


@dataclass
class Killers:
    """Starts and kills instances, none of which runs yet, until enough have been killed.

    Args:
        instances: What to kill.
        kills: How many in all.
        seed: What the plans follow from.
    """

    instances: list[Instance]
    kills: int
    seed: int
    done: int = 0
    pauses: int = 0
    #: Processes that ended although nobody had killed them.
    deaths: list[str] = field(default_factory=list)
    _begun: int = 0
    _customers: Customers | None = None

    async def run(self, customers: Customers) -> None:
        """Kill, each instance by its own plan, all at the same time.

        Raises:
            ExceptionGroup: of AssertionError: an instance was not ready in time.
        """
        self._customers = customers
        async with asyncio.TaskGroup() as tasks:
            for instance in self.instances:
                chance = random.Random(f"{self.seed}/{instance.name}")
                tasks.create_task(self._follow(instance, plan(instance, chance)))

    def stop(self) -> None:
        """Begin no further kills."""
        self.kills = self._begun

    def standing(self) -> str:
        """Return a line on the progress."""
        orders = self._customers.standing() if self._customers else "no orders"
        return f"{self.done:5} of {self.kills} kills; {orders}"

    def _moves(self) -> int:
        return self._customers.moves if self._customers else 0

    async def _follow(self, instance: Instance, blows: Iterator[Blow]) -> None:
        while self._begun < self.kills:
            self._begun += 1
            await self._strike(instance, next(blows))
        # The others' kills wait for progress, which needs everybody.
        instance.start()

    async def _strike(self, instance: Instance, blow: Blow) -> None:
        """Start an instance, and end its process.

        Raises:
            AssertionError: it was not ready in time.
        """
        instance.start(blow.crash_at)
        if not blow.early:
            await eventually(lambda: instance.has_said(READY) or instance.has_ended(), READY_S)
        for _ in range(blow.pauses):
            await self._pause(instance)
        goal = self._moves() + blow.moves
        # Where nothing moves any more it is killed all the same; what is stuck is found at the end.
        with suppress(AssertionError):
            await eventually(lambda: self._moves() >= goal or instance.has_ended(), _PROGRESS_S)
        self._look_at(instance, blow)
        instance.send(signal.SIGKILL)
        await eventually(instance.has_ended, _END_S)
        self.done += 1

    async def _pause(self, instance: Instance) -> None:
        instance.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(_PAUSE_S)
        finally:
            instance.send(signal.SIGCONT)
        self.pauses += 1

    def _look_at(self, instance: Instance, blow: Blow) -> None:
        """Note a process that ended by itself, which nothing that is done to it justifies."""
        if instance.has_ended() and (blow.crash_at is None or instance.crashed_at() != blow.crash_at):
            self.deaths.append(f"{instance.name}: {instance.output()[-2000:]}")
