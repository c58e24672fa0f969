"""Place orders over HTTP, as many at a time as in a busy shop, and read from the database how their sagas went."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count, islice
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.processes import Failed
from benchmarks.system.stack import Stack
from services.cli.stack import HOST

#: Concurrent requests, at all instances together.
CLIENTS: Final = 16
#: Each order has one of so many SKUs: two orders of the same SKU wait for each other at its row.
SKUS: Final = 200
#: Seconds for one round.
_ROUND_S: Final = 240.0
_LOOK_S: Final = 0.25
#: Events of a completed order: created, started, confirmed, completed.
EVENTS: Final = 4

_SINCE: Final = text("SELECT statement_timestamp()")
_ENDED: Final = text("SELECT count(*) FROM oms.sagas WHERE created_at > :since AND ended_at IS NOT NULL")
_AUDITED: Final = text("SELECT count(*) FROM audit.trail WHERE recorded_at > :since")
_LIVES: Final = text("""
    SELECT extract(epoch FROM greatest(max(s.ended_at), (SELECT max(recorded_at) FROM audit.trail)) - min(s.created_at))
               AS seconds,
           extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY s.ended_at - s.created_at)) AS median_s,
           extract(epoch FROM percentile_cont(0.95) WITHIN GROUP (ORDER BY s.ended_at - s.created_at)) AS most_s,
           count(*) FILTER (WHERE s.state <> 'completed') AS others
      FROM oms.sagas s WHERE s.created_at > :since
""")
_OUT_OF_ORDER: Final = text("""
    SELECT count(*) FROM (
        SELECT sequence < lag(sequence) OVER (PARTITION BY topic, order_id ORDER BY id) AS back FROM audit.trail
    ) AS read WHERE back
""")
_TRANSACTIONS: Final = text("""
    SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()
""")


@dataclass(frozen=True)
class Round:
    """The result of one round."""

    sagas: int
    #: From the first order to the end of the last saga and the audit of the last event.
    seconds: float
    #: The duration of a saga under this load, median and 95th percentile.
    median_s: float
    most_s: float
    #: Database transactions, including those of polls and gauges.
    transactions: int

    @property
    def rate(self) -> float:
        """Sagas a second."""
        return self.sagas / self.seconds


class Load:
    """Places orders at one stack and waits for their ends."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    async def run(self, sagas: int) -> Round:
        """Place orders, and wait until all their sagas have ended.

        Raises:
            Failed: an order was refused, a saga did not complete, or all together took too long.
        """
        engine = create_async_engine(self._stack.database, isolation_level="AUTOCOMMIT")
        try:
            async with asyncio.timeout(_ROUND_S), engine.connect() as connection:
                since: datetime = (await connection.execute(_SINCE)).scalar_one()
                before: int = (await connection.execute(_TRANSACTIONS)).scalar_one()
                await self._place(sagas)
                for query, wanted in ((_ENDED, sagas), (_AUDITED, EVENTS * sagas)):
                    while (await connection.execute(query, {"since": since})).scalar_one() < wanted:
                        self._stack.check()
                        await asyncio.sleep(_LOOK_S)
                found = (await connection.execute(_LIVES, {"since": since})).one()
                after: int = (await connection.execute(_TRANSACTIONS)).scalar_one()
        except TimeoutError as error:
            raise Failed(f"{self._stack.name}: {sagas} sagas are not over after {_ROUND_S:.0f} s") from error
        finally:
            await engine.dispose()
        if found.others:
            raise Failed(f"{self._stack.name}: {found.others} sagas did not complete")
        return Round(sagas, float(found.seconds), float(found.median_s), float(found.most_s), after - before)

    async def out_of_order(self) -> int:
        """Return how many events were audited after a later event of the same order and topic."""
        engine = create_async_engine(self._stack.database)
        try:
            async with engine.connect() as connection:
                return int((await connection.execute(_OUT_OF_ORDER)).scalar_one())
        finally:
            await engine.dispose()

    async def _place(self, sagas: int) -> None:
        numbers = islice(count(), sagas)
        ports = self._stack.ports
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(_client(ports[number % len(ports)], numbers))


async def _client(port: int, numbers: Iterator[int]) -> None:
    """Place orders over one connection, one after the other, as long as there are numbers."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        for number in numbers:
            body = json.dumps(_order(number)).encode()
            head = f"POST /orders HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            status, answer = await _answer(reader)
            if not status.startswith(b"HTTP/1.1 202"):
                raise Failed(f"an order was answered with {status.decode()}: {answer.decode()[:200]}")
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    length = next(int(line[15:]) for line in headers if line.lower().startswith(b"content-length:"))
    return status, await reader.readexactly(length)


def _order(number: int) -> dict[str, Any]:
    item = {"sku": f"sku_{number % SKUS}", "quantity": 1, "unit_price": {"amount": 1500, "currency": "EUR"}}
    return {"customer_id": "c-1", "items": [item], "payment_method": "pm_ok"}
