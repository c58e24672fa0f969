"""The traces of orders as whole trees, written by hand, from all services on real Kafka and PostgreSQL.

The trees are in `trees/`, drawn as `tests.support.trees` draws them. All stories are told by one running system, in
which only the payment service is started anew where a story wants it otherwise.
"""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Interval, literal, update

from services.cli.children import Child
from services.cli.order_api import PlacedOrder
from services.cli.receiver import Receiver
from services.cli.run import Service
from services.cli.scenarios import Request
from services.cli.traces.recording import Recording
from services.cli.traces.saga_trace import SagaTrace
from services.cli.traces.story import tell
from services.contracts.topics import PAYMENT_GROUP
from services.messaging.crash_points import CrashPoint, Side
from services.messaging.storage.database import Database
from services.messaging.topology import create_topics
from services.oms.tables import sagas
from services.payment.writes import PaymentWrite
from tests.chaos.system import BROKER
from tests.servers.pool import Servers
from tests.support.databases import postgresql_database
from tests.support.eventually import eventually
from tests.support.operator import Operator
from tests.support.running import Runner, runner
from tests.support.trees import drawn, in_any_order

pytestmark = pytest.mark.timeout(240)

TREES = Path(__file__).with_name("trees")
BUSY_TWICE = {"SAGATRACE_GATEWAY_FLAKY_FAILURES": "2"}
PATIENT = BUSY_TWICE | {"SAGATRACE_CONSUMER_RETRIES": "2"}
# One attempt less than the gateway takes to be well again.
STRICT = BUSY_TWICE | {"SAGATRACE_CONSUMER_RETRIES": "1"}
# It exports nothing by itself: what is not in its journal dies with it.
DYING = PATIENT | {
    "OTEL_BSP_SCHEDULE_DELAY": "600000",
    "SAGATRACE_CRASH_AT": str(CrashPoint(PaymentWrite.CHARGE, Side.AFTER)),
}
SHARED = {
    "OTEL_BSP_SCHEDULE_DELAY": "100",
    "OTEL_METRICS_EXPORTER": "none",
    "SAGATRACE_CONSUMER_SESSION_TIMEOUT": "1.5",
    "SAGATRACE_RESERVATION_DELAY": "600",
    # No answer is late here, however slow the machine is, but where a story moves the clock.
    "SAGATRACE_STEP_TIMEOUT": "600",
    "SAGATRACE_SWEEP_INTERVAL": "0.1",
}
DAYS = timedelta(days=9)


@dataclass
class System:
    """All services, and what they record."""

    services: Runner
    database_url: str
    operator: Operator
    recording: Recording
    paying: Child | None = None
    pays: dict[str, str] = field(default_factory=dict)

    def pay(self, variables: dict[str, str]) -> None:
        """Run the payment service with these variables."""
        if self.paying is not None and self.pays == variables and self.paying.process.poll() is None:
            return
        if self.paying is not None:
            self.paying.process.send_signal(signal.SIGTERM)
            self.paying.process.wait(300)
        self.paying, self.pays = self.services.start(Service.PAYMENT, variables=variables), variables
        self.services.wait_until_ready(self.paying)

    async def place(self, method: str = "pm_ok", sku: str = "sku_ok") -> PlacedOrder:
        """Place an order."""
        line = {"sku": sku, "quantity": 1, "unit_price": {"amount": 100, "currency": "EUR"}}
        order = {"customer_id": "c-1", "items": [line], "payment_method": method}
        return await asyncio.to_thread(self.services.orders.place, order)

    async def ask(self, placed: PlacedOrder, request: Request) -> None:
        """Cancel or refund an order."""
        await asyncio.to_thread(self.services.orders.request, placed.order_id, request)

    async def reaches(self, placed: PlacedOrder, status: str) -> None:
        """Wait for an order's saga to reach a status."""

        async def is_there() -> bool:
            return await asyncio.to_thread(self.services.orders.status, placed.order_id) == status

        await eventually(is_there, timeout_s=60)

    async def has_died(self) -> None:
        """Wait for the payment service to kill itself."""
        assert self.paying is not None
        process = self.paying.process
        await eventually(lambda: process.poll() is not None, timeout_s=60)
        assert process.returncode == -signal.SIGKILL

    async def move_clock(self, placed: PlacedOrder, *moments: str) -> None:
        """Move these times of a saga nine days back."""
        earlier = {name: sagas.c[name] - literal(DAYS, Interval) for name in moments}
        database = Database(self.database_url, schema="oms")
        try:
            async with database.transaction() as connection:
                await connection.execute(update(sagas).where(sagas.c.saga_id == placed.saga_id).values(earlier))
        finally:
            await database.close()

    async def is_tree(self, placed: PlacedOrder, name: str) -> None:
        """Wait until an order's trace is the whole tree in a file."""
        expected = in_any_order((TREES / f"{name}.txt").read_text())

        def is_there() -> bool:
            assert in_any_order(drawn(self.recording.spans(), placed.trace_id)) == expected
            return True

        await eventually(is_there, timeout_s=30)

    def tells(self, placed: PlacedOrder, story: str) -> None:
        """Check an order's story, a regular expression in which `...` stands for any text."""
        own = tuple(span for span in self.recording.spans() if span.trace_id == placed.trace_id)
        told = tell(SagaTrace(placed.saga_id, own)).text
        assert re.fullmatch(story.replace("...", ".*"), told), told


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, postgres: str) -> Iterator[System]:
    """The running system, started once."""
    folder, recording = tmp_path_factory.mktemp("trees"), Recording()
    with (
        closing(Servers(request.config, folder)) as servers,
        postgresql_database(postgres) as url,
        Receiver(recording) as receiver,
    ):
        brokers = servers.kafka(BROKER).bootstrap
        asyncio.run(create_topics(brokers))
        where = {"DATABASE_URL": url, "KAFKA_BOOTSTRAP_SERVERS": brokers}
        spans = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_METRICS_EXPORTER": "none"}
        with runner(folder, brokers, receiver.endpoint, variables=where | SHARED) as services:
            others = [services.start(service) for service in Service if service is not Service.PAYMENT]
            made = System(services, url, Operator(where | spans, is_process=True), recording)
            made.pay(PATIENT)
            services.wait_until_ready(*others)
            yield made


async def test_an_order_paid_at_the_third_try_and_refunded_days_later(system: System) -> None:
    """Attempts are events of one process span, and nine days later the refund continues in the same tree."""
    system.pay(PATIENT)
    placed = await system.place("pm_flaky")
    await system.reaches(placed, "completed")
    await system.move_clock(placed, "created_at", "updated_at", "phase_began_at", "ended_at")
    await system.ask(placed, Request.REFUND)
    await system.is_tree(placed, "refunded")
    undone = "charge refunded, stock released"
    system.tells(placed, f"completed in ..., refunded ... later; {undone}; ...2 retries of payment.charge")


async def test_a_declined_order(system: System) -> None:
    """A decline is a reply and not an error; what undoes the reservation links to it."""
    placed = await system.place("pm_declined")
    await system.is_tree(placed, "declined")
    system.tells(placed, "declined by payment after ...; stock released...")


async def test_an_order_canceled_while_its_stock_is_reserved(system: System) -> None:
    """The cancel's request has a trace of its own, to which the order's tree links."""
    placed = await system.place(sku="sku_slow")
    await system.ask(placed, Request.CANCEL)
    await system.is_tree(placed, "canceled")
    system.tells(placed, "canceled by request after ...; stock released...")


async def test_an_order_whose_payment_service_is_killed(system: System) -> None:
    """What the dead process left in its journal is in the tree; the answer's time runs out meanwhile."""
    system.pay(DYING)
    placed = await system.place()
    await system.has_died()
    await system.move_clock(placed, "deadline")
    await eventually(lambda: "timeout charging" in drawn(system.recording.spans(), placed.trace_id), timeout_s=30)
    system.pay(PATIENT)
    await system.is_tree(placed, "killed")
    absorbed = "payment was interrupted at payment.charge; 1 duplicate absorbed; 1 late reply ignored"
    system.tells(placed, rf"completed in ...; payment asked again \(timeout charging\); ...{absorbed}")


async def test_an_order_whose_charge_is_a_dead_letter_and_is_redriven(system: System) -> None:
    """A dead-lettered charge turns its saga back; re-driven it links to the attempt that failed, and is refused."""
    system.pay(STRICT)
    placed = await system.place("pm_flaky")
    await system.reaches(placed, "failed")
    redrive = ("dlq", "redrive", PAYMENT_GROUP, "--execute", "--reason", "the gateway is back")
    assert len((await asyncio.to_thread(system.operator.json, *redrive))["done"]) == 1
    await system.is_tree(placed, "redriven")
    undone = "nothing was charged, stock released..."
    again = "payment.charge was re-driven after ...; ...1 retry of payment.charge; 1 late reply ignored"
    system.tells(placed, f"payment.charge became a dead letter of oms-payment: GatewayBusy...; {undone}; {again}")
