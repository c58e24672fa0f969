"""One run of chaos: customers order while processes are killed, all settles, and books and traces are read."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from services.cli.jaeger import Jaeger
from services.messaging.storage.database import Database
from tests.chaos import ledgers, traces
from tests.chaos.customers import Customers, Order
from tests.chaos.system import System

Trouble = Callable[[Customers], Awaitable[None]]
"""Makes trouble as long as it runs; customers tell how far the sagas are. It may leave services dead."""

_CUSTOMERS = 16
# How long what was begun may take once nobody is killed any more, and how long spans may still be on their way.
_PEACE_S = 300.0
_TRACES_S = 30.0
_LOOK_S = 0.5


@dataclass(frozen=True)
class Aftermath:
    """What is left: the orders that were accepted, all books, all traces."""

    orders: dict[str, Order]
    books: ledgers.Books
    traces: traces.Traces
    seconds: float

    @property
    def lost(self) -> list[ledgers.Fault]:
        """What was accepted and is missing."""
        return ledgers.lost(self.books, self.orders)

    @property
    def double_effects(self) -> list[ledgers.Fault]:
        """What is there too often, or was undone and stayed."""
        return ledgers.double_effects(self.books)

    def faults(self) -> Iterator[str]:
        """Return everything that is wrong, a line each."""
        yield from (f"lost: {fault}" for fault in self.lost)
        yield from (f"double effect: {fault}" for fault in self.double_effects)
        for saga_id, findings in self.traces.broken.items():
            trace_id = self.books.sagas[saga_id].trace_id
            yield from (f"broken trace: {trace_id} of {saga_id}: {finding}" for finding in findings)


async def play(system: System, seed: int, trouble: Trouble) -> Aftermath:
    """Let customers order during the trouble, let everything settle, and read what is left.

    Args:
        system: The services; none of them runs yet.
        seed: Decides what the customers order.
        trouble: Starts and kills services.

    Raises:
        AssertionError: a service does not start.
        ExceptionGroup: a customer was not served, or whatever the trouble raised.
    """
    began = time.monotonic()
    await system.prepare()
    database = Database(system.parts.database, schema="oms")
    customers = Customers(system.ports, database, _CUSTOMERS, random.Random(seed))
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(customers.run())
            await trouble(customers)
            await system.start()
            customers.close()
        books = await _peace(system, customers)
        await system.stop()
    finally:
        await database.close()
    wanted = {saga.saga_id: saga.trace_id for saga in books.sagas.values()}
    seen = await asyncio.to_thread(traces.read, Jaeger(system.parts.jaeger), wanted, _TRACES_S)
    return Aftermath(customers.orders, books, seen, time.monotonic() - began)


async def _peace(system: System, customers: Customers) -> ledgers.Books:
    """Read the books until nothing is missing or the time is up."""
    deadline = time.monotonic() + _PEACE_S
    while True:
        books = await ledgers.read(system.parts.database)
        if not ledgers.lost(books, customers.orders) or time.monotonic() > deadline:
            return books
        await asyncio.sleep(_LOOK_S)
