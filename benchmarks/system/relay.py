"""Measure how long a row waits for an idle relay, from the commit in another process to the send.

One process runs a relay that has nothing to do. This one commits a row to the same database from time to time. Both
read the machine's monotonic clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks import machine
from benchmarks.processes import Failed
from benchmarks.system import stack
from services.contracts import parse_message
from services.contracts.events import SagaStarted
from services.contracts.topics import SAGA_EVENTS
from services.messaging.errors import MessagingError
from services.messaging.outbox import Outbox, Relay
from services.messaging.storage import Database, upgrade

_SCHEMA: Final = "inventory"
_WAIT_S: Final = 30.0
#: Between two rows, in seconds: long enough that the relay is idle again.
_PAUSE_S: Final = 0.13


@dataclass
class _Place:
    partition: int = 0
    offset: int = 0


@dataclass
class PrintingProducer:
    """A producer that prints the id of each message and the time at which it got it."""

    place: _Place = field(default_factory=_Place)

    async def publish(self, topic: str, *, key: bytes | None, value: bytes | None) -> _Place:
        """Take one record."""
        del topic, key
        now = time.monotonic_ns()
        print(f"{parse_message(value).event_id} {now}", flush=True)
        return self.place


async def relay(url: str) -> None:
    """Run the idle relay until standard input closes."""
    database = Database(url, schema=_SCHEMA)
    running = Relay(database, Outbox(database), PrintingProducer())
    task = asyncio.create_task(running.run())
    await asyncio.to_thread(sys.stdin.read)
    await running.stop()
    await task
    await database.close()


async def _commit(database: Database, outbox: Outbox) -> tuple[str, int]:
    """Commit a row, and return its message's id and the time right after the commit."""
    message = SagaStarted(saga_id="saga", order_id="order", sequence=1)
    committed: list[int] = []

    def note() -> None:
        committed.append(time.monotonic_ns())

    async with database.transaction() as connection:
        connection_: AsyncConnection = connection
        await outbox.add(connection_, SAGA_EVENTS, message)
        database.after_commit(connection_, note)
    return str(message.event_id), committed[0]


async def measure(url: str, rows: int) -> list[float]:
    """Return the milliseconds that each row waited; negative if it was sent before its commit was answered here.

    Raises:
        Failed: a row was not sent.
    """
    await upgrade(url, _SCHEMA)
    command = [sys.executable, "-m", "benchmarks.system.relay", url]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220, S603  ours
    assert child.stdout is not None  # noqa: S101  it was asked for
    database = Database(url, schema=_SCHEMA)
    waits: list[float] = []
    try:
        for _ in range(rows):
            await asyncio.sleep(_PAUSE_S)
            name, committed = await _commit(database, Outbox(database))
            async with asyncio.timeout(_WAIT_S):
                line = await asyncio.to_thread(child.stdout.readline)
            published, _, sent = line.partition(" ")
            if published != name:
                raise Failed("the relay sent another row than the one that was committed")
            waits.append((int(sent) - committed) / 1e6)
    except TimeoutError as error:
        raise Failed(f"the relay sent nothing for {_WAIT_S:.0f} s") from error
    finally:
        await database.close()
        child.communicate(timeout=_WAIT_S)
    # While the first ones wait, the relay is still starting.
    return waits[5:]


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks relay",
        description="Milliseconds from the commit in another process to the send of an idle relay, on PostgreSQL.",
    )
    parser.add_argument("--rows", type=int, default=200, metavar="N", help="rows to send, one at a time (200)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="sagatrace-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        try:
            with stack.database_server(Path(name) / "postgres") as server, stack.databases(server, 1) as (url,):
                waits = asyncio.run(measure(url, options.rows + 5))
        except (Failed, MessagingError) as error:
            print(f"benchmarks: {error}", file=sys.stderr)
            return 1
    figures = {"median_ms": median(waits), "p95_ms": quantiles(waits, n=20)[-1], "most_ms": max(waits)}
    about = machine.describe(machine.Cores())
    if options.json is not None:
        options.json.write_text(json.dumps({**figures, "rows": len(waits), "machine": about}, indent=2) + "\n")
    print(f"{about['cpu']}, {about['cores']} cores; {len(waits)} rows, from the commit to the send of an idle relay")
    print(", ".join(f"{name.removesuffix('_ms')} {value:.1f} ms" for name, value in figures.items()))
    return 0


if __name__ == "__main__":
    asyncio.run(relay(sys.argv[1]))
