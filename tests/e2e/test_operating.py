"""An operator's work on real Kafka and PostgreSQL: each saga stays one connected trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from services.cli.order_api import OrderApi, PlacedOrder
from services.cli.receiver import Receiver
from services.cli.run import Service
from services.cli.traces.check import check
from services.cli.traces.model import Kind, Span
from services.cli.traces.recording import Recording
from services.cli.traces.saga_trace import operation
from services.contracts.topics import AUDIT_GROUP, NOTIFICATION_GROUP, ORDER_EVENTS, PAYMENT_GROUP, retry_topic
from services.messaging import Producer
from services.messaging.topology import create_topics
from tests.servers.pool import Servers
from tests.support.databases import postgresql_database
from tests.support.eventually import eventually
from tests.support.operator import OPERATOR, Operator
from tests.support.running import running_services
from tracing.semconv import MESSAGING_DESTINATION_NAME, PROCESS

pytestmark = pytest.mark.timeout(180)

ORDER = {
    "customer_id": "c-1",
    "items": [{"sku": "sku_ok", "quantity": 1, "unit_price": {"amount": 100, "currency": "EUR"}}],
}
# A gateway that is busy once is enough for a dead letter where nothing is tried again.
STRICT = {"SAGATRACE_CONSUMER_RETRIES": "0", "SAGATRACE_GATEWAY_FLAKY_FAILURES": "1"}
# Every command is asked once, and not for long.
IMPATIENT = {
    "SAGATRACE_ATTEMPTS_FORWARD": "1",
    "SAGATRACE_ATTEMPTS_BACK": "1",
    "SAGATRACE_STEP_TIMEOUT": "0.3",
    "SAGATRACE_SWEEP_INTERVAL": "0.1",
}


@dataclass
class System:
    """Kafka, PostgreSQL, and what is recorded of the services and the commands that run on them."""

    folder: Path
    brokers: str
    database: str
    receiver: Receiver
    recording: Recording
    #: Runs what moves messages in a process of its own, so that its spans are that process's.
    operator: Operator = field(init=False)
    #: Runs what only looks, without a span.
    viewer: Operator = field(init=False)

    def __post_init__(self) -> None:
        """Return the operator's settings."""
        where = {"KAFKA_BOOTSTRAP_SERVERS": self.brokers, "DATABASE_URL": self.database}
        spans = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.receiver.endpoint, "OTEL_METRICS_EXPORTER": "none"}
        self.operator, self.viewer = Operator({**where, **spans}, is_process=True), Operator(where)

    def services(self, *services: Service, **variables: str) -> AbstractContextManager[OrderApi]:
        """Run services."""
        shared = {"DATABASE_URL": self.database, **variables}
        return running_services(self.folder, self.brokers, self.receiver.endpoint, services=services, variables=shared)

    def of(self, placed: PlacedOrder) -> list[Span]:
        """Return the spans of an order's trace."""
        return [span for span in self.recording.spans() if span.trace_id == placed.trace_id]

    async def is_one_trace(self, placed: PlacedOrder, also: Callable[[list[Span]], bool]) -> None:
        """Wait until an order's trace has what it should, and is complete."""
        find = partial(check, saga_id=placed.saga_id, trace_id=placed.trace_id)
        await eventually(lambda: also(self.of(placed)) and not find(self.recording.spans()), timeout_s=30)
        assert find(self.recording.spans()) == []


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, postgres: str) -> Iterator[System]:
    """The system, without services; its Kafka has no other test's dead letters."""
    folder, recording = tmp_path_factory.mktemp("operating"), Recording()
    with (
        closing(Servers(request.config, folder)) as servers,
        postgresql_database(postgres) as database,
        Receiver(recording) as receiver,
    ):
        brokers = servers.kafka().bootstrap
        asyncio.run(create_topics(brokers))
        yield System(folder, brokers, database, receiver, recording)


async def test_a_dead_letter_is_found_redriven_and_processed(system: System) -> None:
    """List, show, dry run, re-drive: what failed is processed, in one trace, and a second run changes nothing."""
    operator, viewer, redrive = system.operator, system.viewer, ("dlq", "redrive", PAYMENT_GROUP)
    with system.services(*Service, **STRICT) as api:
        placed = await asyncio.to_thread(api.place, ORDER | {"payment_method": "pm_flaky"})
        await _reaches(api, placed, "failed")
        (listed,) = await asyncio.to_thread(viewer.json, "dlq", "list", PAYMENT_GROUP)
        assert (listed["event_type"], listed["key"], listed["status"]) == ("payment.charge", placed.order_id, "failed")
        shown = await asyncio.to_thread(viewer.json, "dlq", "show", PAYMENT_GROUP, listed["at"])
        assert (shown["trace_id"], shown["acts"]) == (placed.trace_id, [])
        dry = await asyncio.to_thread(viewer.json, *redrive)
        assert ([one["at"] for one in dry["done"]], await _retried(system)) == ([listed["at"]], 0)
        run = await asyncio.to_thread(operator.json, *redrive, "--execute", "--reason", "gateway is back")
        assert len(run["done"]) == 1
        await eventually(partial(_all_are, system, PAYMENT_GROUP, "processed"), timeout_s=30)
        await system.is_one_trace(placed, _is_retried)
        (sent,) = [span for span in system.of(placed) if span.service == "sagatrace-cli" and span.kind is Kind.PRODUCER]
        assert sent.name == "send payment.charge"
        assert "sagatrace-cli" in {span.service for span in system.of(placed)}
        again = await asyncio.to_thread(operator.json, *redrive, "--execute")
        assert (again["left"], again["done"]) == ([], [])
        assert await _retried(system) == 1
        (act,) = (await asyncio.to_thread(viewer.json, "dlq", "show", PAYMENT_GROUP, listed["at"]))["acts"]
        assert (act["action"], act["by"], act["reason"]) == ("redrive", OPERATOR, "gateway is back")
        await _discards_poison(system)


def _is_retried(spans: Iterable[Span]) -> bool:
    topic = retry_topic(PAYMENT_GROUP)
    return any(operation(span) == PROCESS and span.text(MESSAGING_DESTINATION_NAME) == topic for span in spans)


def _has_ended(spans: Iterable[Span]) -> bool:
    return any(span.name.startswith("saga order failed: ") for span in spans)


async def _discards_poison(system: System) -> None:
    """Poison of two groups is discarded, once in each."""
    async with Producer(system.brokers) as producer:
        await producer.publish(ORDER_EVENTS, key=b"poisoned", value=b"{")
    for group in (NOTIFICATION_GROUP, AUDIT_GROUP):
        await eventually(partial(_all_are, system, group, "failed"), timeout_s=30)
        discard = ("dlq", "discard", group, "--key", "poisoned", "--reason", "no JSON", "--execute")
        for count in (1, 0):
            assert len((await asyncio.to_thread(system.viewer.json, *discard))["done"]) == count
        assert _all_are(system, group, "discarded")


async def test_a_saga_that_needs_attention_is_found_and_taken_on(system: System) -> None:
    """A saga that nobody answered is listed, retried, and ends once its participant is back, in one trace."""
    quiet = (Service.OMS, Service.AUDIT, Service.NOTIFICATION)
    # Without an endpoint the command has no span, and what it sends hangs on the saga's own.
    operator = system.viewer
    with system.services(*quiet, **IMPATIENT) as api:
        placed = await asyncio.to_thread(api.place, ORDER | {"payment_method": "pm_ok"})
        await _reaches(api, placed, "needs_attention")
        (listed,) = await asyncio.to_thread(operator.json, "saga", "list", "--status", "needs_attention")
        assert listed["saga_id"] == placed.saga_id
        assert (await asyncio.to_thread(operator.run, "saga", "retry", placed.saga_id))[0] == 0
        with system.services(Service.INVENTORY):
            await _reaches(api, placed, "failed")
            await system.is_one_trace(placed, _has_ended)
        shown = await asyncio.to_thread(operator.json, "saga", "show", placed.order_id)
    asked = [(entry["input"], entry["actor"]) for entry in shown["history"] if entry["verdict"] == "applied"]
    assert ("retry", OPERATOR) in asked
    assert shown["jaeger"] == f"http://localhost:16686/trace/{placed.trace_id}"


async def _reaches(api: OrderApi, placed: PlacedOrder, status: str) -> None:
    async def is_there() -> bool:
        return await asyncio.to_thread(api.status, placed.order_id) == status

    await eventually(is_there, timeout_s=30)


def _all_are(system: System, group: str, status: str) -> bool:
    """Return whether a group has dead letters, all of this status."""
    return {letter["status"] for letter in system.viewer.json("dlq", "list", group, "--all")} == {status}


async def _retried(system: System) -> int:
    """Count what was ever sent to the group's retry topic."""
    async with AIOKafkaConsumer(retry_topic(PAYMENT_GROUP), bootstrap_servers=system.brokers) as reader:
        return sum((await reader.end_offsets(reader.assignment())).values())
