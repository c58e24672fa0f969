"""A rolling deploy from version 1 of `order.created` to version 2, on real Kafka and PostgreSQL.

The old program is this one, held at version 1; who reads beside it has a copy of the old models. Records of version 1
are in the topic, among the dead letters and in the outbox while both programs run, and after the old one has gone.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from services.cli.children import Child
from services.cli.order_api import PlacedOrder
from services.cli.receiver import Receiver
from services.cli.run import Service
from services.cli.traces.check import check
from services.cli.traces.recording import Recording
from services.contracts.topics import NOTIFICATION_GROUP
from services.messaging.topology import create_topics
from tests.servers.kafka import KafkaServer
from tests.servers.pool import Servers
from tests.support.books import Books, out_of_order
from tests.support.databases import postgresql_database
from tests.support.eventually import eventually
from tests.support.old_reader import OldReader, old_reader
from tests.support.operator import Operator
from tests.support.running import Runner, runner

pytestmark = pytest.mark.timeout(300)

WINDOW = {"earliest": "2026-03-02T08:00:00Z", "latest": "2026-03-02T12:00:00Z"}
ORDER = {
    "customer_id": "c-1",
    "items": [{"sku": "sku_ok", "quantity": 1, "unit_price": {"amount": 100, "currency": "EUR"}}],
    "payment_method": "pm_ok",
    "delivery_window": WINDOW,
}
HELD = {"SAGATRACE_HELD_VERSIONS": "order.created=1"}
# Two orders, each with an event that fails and one that waits behind it.
BURIED = 4
# Orders that are placed once the new version is written.
RELEASED = 3
_ENDED_S = 90.0


@dataclass
class Deploy:
    """Kafka, PostgreSQL, the old program and the new one beside it, and what was recorded of both."""

    kafka: KafkaServer
    database: str
    recording: Recording
    receiver: Receiver
    old: Runner
    new: Runner
    books: Books
    running: dict[str, Child] = field(default_factory=dict)
    placed: list[PlacedOrder] = field(default_factory=list)

    async def start(self, program: Runner, *services: Service, **variables: str) -> None:
        """Start services of a program, and wait until they are ready."""
        started = [program.start(service, variables=variables) for service in services or tuple(Service)]
        self.running |= {f"{program.folder.name} {child.name}": child for child in started}
        await asyncio.to_thread(program.wait_until_ready, *started)

    async def end(self, *names: str, by: signal.Signals = signal.SIGTERM) -> None:
        """End processes, which are named as `old oms`, in order or by force."""
        ended = [self.running.pop(name).process for name in names]
        for process in ended:
            os.killpg(process.pid, by)
        await asyncio.to_thread(lambda: [process.wait(100) for process in ended])

    async def place(self, program: Runner, count: int) -> list[PlacedOrder]:
        """Place orders with a delivery window at a program's API."""
        placed = [await asyncio.to_thread(program.orders.place, ORDER) for _ in range(count)]
        self.placed += placed
        return placed

    async def ask(self, statement: str) -> None:
        """Execute a statement as the database's administrator."""
        engine = create_async_engine(self.database, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.execute(text(statement))
        await engine.dispose()

    async def completes(self, placed: Sequence[PlacedOrder]) -> None:
        """Wait until orders are completed, and everything that was to be sent is sent."""

        async def is_done() -> bool:
            outcomes = await self.books.outcomes()
            return all(outcomes[one.order_id] == "completed" for one in placed) and await self.books.unsent() == 0

        await eventually(is_done, timeout_s=_ENDED_S)

    async def redrive(self) -> None:
        """Re-drive the notification's dead letters, as an operator does, and wait until none is left."""
        where = {"KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap, "DATABASE_URL": self.database}
        spans = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.receiver.endpoint, "OTEL_METRICS_EXPORTER": "none"}
        operator, viewer = Operator({**where, **spans}, is_process=True), Operator(where)
        reason = ("--reason", "customers get receipts again")
        run = await asyncio.to_thread(operator.json, "dlq", "redrive", NOTIFICATION_GROUP, "--execute", *reason)
        assert len(run["done"]) == BURIED

        async def is_empty() -> bool:
            return not await asyncio.to_thread(viewer.json, "dlq", "list", NOTIFICATION_GROUP)

        await eventually(is_empty, timeout_s=_ENDED_S)

    async def are_whole_traces(self) -> None:
        """Wait until each order is exactly one connected trace."""
        await eventually(lambda: not self._findings(), timeout_s=30)

    def _findings(self) -> list[str]:
        spans = self.recording.spans()
        sagas = ((one.saga_id, one.trace_id) for one in self.placed)
        return [str(found) for saga, trace in sagas for found in check(spans, saga_id=saga, trace_id=trace)]


@pytest.fixture
def deploy(tmp_path: Path, servers: Servers, postgres: str) -> Iterator[Deploy]:
    """Both programs, held at version 1 and not started, on an empty database and a Kafka of their own."""
    kafka, recording = servers.kafka(), Recording()
    asyncio.run(create_topics(kafka.bootstrap))
    with ExitStack() as opened:
        database = opened.enter_context(postgresql_database(postgres))
        receiver = opened.enter_context(Receiver(recording))
        variables = {"DATABASE_URL": database, "SAGATRACE_CONSUMER_RETRIES": "0", **HELD}
        programs = {}
        for name in ("old", "new"):
            (tmp_path / name).mkdir()
            started = runner(tmp_path / name, kafka.bootstrap, receiver.endpoint, variables=variables)
            programs[name] = opened.enter_context(started)
        books = Books(database, kafka.bootstrap)
        yield Deploy(kafka, database, recording, receiver, programs["old"], programs["new"], books)


async def test_a_new_version_is_deployed_beside_the_old_one(deploy: Deploy) -> None:
    """Each order ends once, with its notices, its trail and its one trace, whichever program wrote what, and when."""
    await deploy.start(deploy.old)
    async with old_reader(deploy.kafka.bootstrap) as reader:
        await deploy.completes(await deploy.place(deploy.old, 3))
        await _leave_dead_letters(deploy)
        await deploy.start(deploy.new)
        await deploy.completes([*await deploy.place(deploy.old, 3), *await deploy.place(deploy.new, 3)])
        await deploy.completes(await _leave_unsent(deploy))
        await deploy.end(*(f"old {service}" for service in Service if service is not Service.OMS), "new oms")
        held = {one.order_id for one in deploy.placed}
        # It also ships the spans of the old one, which was killed.
        journal = str(deploy.old.folder / "oms" / "journal")
        await deploy.start(deploy.new, Service.OMS, SAGATRACE_HELD_VERSIONS="", SAGATRACE_JOURNAL_DIR=journal)
        await deploy.completes(await deploy.place(deploy.new, RELEASED))
        await deploy.redrive()
        await eventually(lambda: reader.skipped["order.created", 2] >= RELEASED, timeout_s=30)
    await _is_done_once(deploy, held)
    _was_read_while_held(reader, held)
    await deploy.are_whole_traces()


async def _leave_dead_letters(deploy: Deploy) -> None:
    """Let two orders' events fail at the notification: it can't store receipts for a while."""
    receipts = "ALTER TABLE notification.notifications"
    await deploy.ask(f"{receipts} ADD CONSTRAINT none_for_now CHECK (template <> 'order_received') NOT VALID")
    await deploy.completes(await deploy.place(deploy.old, 2))

    async def are_buried() -> bool:
        return await deploy.books.dead_letters() == BURIED

    await eventually(are_buried, timeout_s=_ENDED_S)
    await deploy.ask(f"{receipts} DROP CONSTRAINT none_for_now")


async def _leave_unsent(deploy: Deploy) -> list[PlacedOrder]:
    """Accept two orders while Kafka is silent, and kill who accepted them: their messages are in the outbox alone."""
    await asyncio.to_thread(deploy.kafka.freeze)
    waiting = await deploy.place(deploy.old, 2)
    await deploy.end("old oms", by=signal.SIGKILL)
    unsent = await deploy.books.unsent_orders()
    assert unsent["order.created", 1] == 2
    assert unsent["order.created", 2] == 0
    await asyncio.to_thread(deploy.kafka.thaw)
    return waiting


async def _is_done_once(deploy: Deploy, held: set[str]) -> None:
    """Check the books: every effect of every order is there once, and every event, by the version that was written."""
    every = {one.order_id for one in deploy.placed}
    assert await deploy.books.effects() == dict.fromkeys(product(every, ("reserve", "charge")), 1)
    assert await deploy.books.notices() == dict.fromkeys(product(every, ("order_received", "order_confirmed")), 1)
    others = product(every, ("order.confirmed", "saga.started", "saga.completed"), (1,), (True,))
    created = ((order, "order.created", 1 if order in held else 2, True) for order in every)
    assert await deploy.books.audited() == dict.fromkeys([*others, *created], 1)
    assert out_of_order(await deploy.books.written(), await deploy.books.arrived()) == []
    assert all(None not in window for window in (await deploy.books.windows()).values())


def _was_read_while_held(reader: OldReader, held: set[str]) -> None:
    """Check that the old reader got all that was written while it was to get it, and stumbled over nothing since."""
    assert sorted(reader.orders.values()) == sorted(held)
    assert {kind for kind in reader.skipped if kind[0] == "order.created"} == {("order.created", 2)}
