"""One run of chaos: customers and killers at work, then peace, then the books and the traces."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from services.cli.jaeger import Jaeger
from services.messaging.database import Database
from tests.chaos import ledgers, traces
from tests.chaos.customers import Customers
from tests.chaos.killers import Killers
from tests.chaos.system import System

_CUSTOMERS = 16
_TELL_S = 5.0
# How long what was begun may take once nobody is killed any more, and how long spans may still be on their way.
_PEACE_S = 120.0
_TRACES_S = 30.0
_LOOK_S = 0.5


@dataclass(frozen=True)
class Report:
    """What came of it, as it is written to the report's file."""

    sagas: int
    kills: int
    pauses: int
    redeliveries: int
    duplicates_absorbed: int
    lost: int
    double_effects: int
    broken_traces: int
    deaths: int
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether the guarantee held: no event lost, each effect once, each saga one trace."""
        return not (self.lost or self.double_effects or self.broken_traces or self.deaths)

    def document(self) -> dict[str, float]:
        """Give it as a JSON value."""
        return asdict(self)


async def chaos(system: System, kills: int, seed: int, tell: Callable[[str], None]) -> Report:
    """Run it.

    Args:
        system: Who is killed; nothing of it runs yet.
        kills: How many kills.
        seed: What is killed, and when, follows from it.
        tell: Is told how far it is, and what is wrong.

    Raises:
        AssertionError: a service does not come up.
        ExceptionGroup: a customer was not served.
    """
    began = time.monotonic()
    await system.prepare()
    database = Database(system.parts.database, schema="oms")
    customers = Customers(system.ports, database, _CUSTOMERS, random.Random(seed))
    killers = Killers(system.instances, kills, seed, lambda: customers.moves)

    def standing() -> str:
        seconds = time.monotonic() - began
        return f"{seconds:6.0f} s  {killers.done:5} kills  {customers.ended:6} orders ended  {customers.moves:7} moves"

    telling = asyncio.create_task(_tell_on(lambda: tell(standing())))
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(customers.run())
            await killers.run()
            await system.start()
            customers.close()
        books = await _peace(system, customers)
        await system.stop()
    finally:
        telling.cancel()
        await database.close()
    tell(standing())
    wanted = {saga.saga_id: saga.trace_id for saga in books.sagas.values()}
    seen = await asyncio.to_thread(traces.read, Jaeger(system.parts.jaeger), wanted, _TRACES_S)
    return _judge(customers, killers, books, seen, tell=tell, seconds=time.monotonic() - began)


async def _tell_on(tell: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(_TELL_S)
        tell()


async def _peace(system: System, customers: Customers) -> ledgers.Books:
    """Read the books until nothing is missing, or the time is over."""
    deadline = time.monotonic() + _PEACE_S
    while True:
        books = await ledgers.read(system.parts.database)
        if not ledgers.lost(books, customers.orders) or time.monotonic() > deadline:
            return books
        await asyncio.sleep(_LOOK_S)


def _judge(  # noqa: PLR0913  all that is known of a run
    customers: Customers,
    killers: Killers,
    books: ledgers.Books,
    seen: traces.Traces,
    *,
    tell: Callable[[str], None],
    seconds: float,
) -> Report:
    lost, double = ledgers.lost(books, customers.orders), ledgers.double_effects(books)
    for fault in lost:
        tell(f"lost: {fault}")
    for fault in double:
        tell(f"double effect: {fault}")
    for saga_id, findings in seen.broken.items():
        for finding in findings:
            tell(f"broken trace: {books.sagas[saga_id].trace_id} of {saga_id}: {finding}")
    for death in killers.deaths:
        tell(f"died by itself: {death}")
    return Report(
        sagas=len(books.sagas),
        kills=killers.done,
        pauses=killers.pauses,
        redeliveries=seen.redeliveries,
        duplicates_absorbed=seen.duplicates,
        lost=len({fault.about for fault in lost}),
        double_effects=len({fault.about for fault in double}),
        broken_traces=len(seen.broken),
        deaths=len(killers.deaths),
        seconds=round(seconds, 1),
    )
