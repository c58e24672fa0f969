"""The trace of an order continues through dead letters and their re-drive, with all services as processes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from services.cli.order_api import OrderApi, PlacedOrder
from services.cli.receiver import Receiver
from services.cli.scenarios import Request
from services.cli.traces.check import check
from services.cli.traces.model import Span
from services.cli.traces.protobuf import to_json
from services.cli.traces.recording import Recording
from services.cli.traces.saga_trace import has_failed, operation
from services.contracts import new_id
from services.contracts.topics import (
    AUDIT_GROUP,
    NOTIFICATION_GROUP,
    ORDER_EVENTS,
    PARTITIONS,
    PAYMENT_COMMANDS,
    PAYMENT_GROUP,
    dead_letter_topic,
    retry_topic,
)
from services.messaging import Producer
from services.messaging.dead_letters.headers import DeadLetter, DeadLetterState, read_dead_letter
from services.messaging.dead_letters.operator import Attribution, DeadLetterOperator
from services.messaging.dead_letters.redrive import plan_redrive, send_redrive
from services.messaging.semconv import SAGATRACE_MESSAGE_TYPE
from services.messaging.storage.database import Database
from tests.support.broker import embedded_broker
from tests.support.eventually import eventually
from tests.support.running import running_services
from tracing.semconv import MESSAGING_DESTINATION_NAME, PROCESS
from tracing.testing import RecordedSpans

pytestmark = pytest.mark.timeout(180)

ORDER = {
    "customer_id": "c-1",
    "items": [{"sku": "sku_ok", "quantity": 1, "unit_price": {"amount": 100, "currency": "EUR"}}],
}
_SERVICES = {PAYMENT_GROUP: "payment", AUDIT_GROUP: "audit", NOTIFICATION_GROUP: "notification"}
# A gateway that is busy once is enough for a dead letter where nothing is tried again.
_STRICT = {"SAGATRACE_CONSUMER_RETRIES": "0", "SAGATRACE_GATEWAY_FLAKY_FAILURES": "1"}


@dataclass
class Orders:
    """All services on an embedded broker, and what they recorded."""

    brokers: str
    folder: Path
    api: OrderApi
    recording: Recording

    async def place(self, method: str) -> PlacedOrder:
        """Place an order with a payment method."""
        return await asyncio.to_thread(self.api.place, ORDER | {"payment_method": method})

    async def reaches(self, placed: PlacedOrder, status: str) -> None:
        """Wait for an order's saga to reach a status."""

        async def is_there() -> bool:
            return await asyncio.to_thread(self.api.status, placed.order_id) == status

        await eventually(is_there, timeout_s=30)

    async def dead_letters(self, group: str, count: int) -> list[DeadLetter]:
        """Read a group's dead letters once there are so many."""
        reader = AIOKafkaConsumer(bootstrap_servers=self.brokers, auto_offset_reset="earliest", fetch_max_wait_ms=20)
        await reader.start()
        try:
            reader.assign([TopicPartition(dead_letter_topic(group), number) for number in range(PARTITIONS)])
            found: list[DeadLetter] = []

            async def are_there() -> bool:
                for batch in (await reader.getmany(timeout_ms=100)).values():
                    found.extend(read_dead_letter(one) for one in batch)
                return len(found) >= count

            await eventually(are_there, timeout_s=30)
        finally:
            await reader.stop()
        return found

    @asynccontextmanager
    async def operator(self, group: str) -> AsyncIterator[DeadLetterOperator]:
        """Open a group's dead letters in its service's database."""
        data = self.folder / _SERVICES[group] / "service.sqlite"
        database = Database(f"sqlite+aiosqlite:///{data}")
        try:
            yield DeadLetterOperator(database, group)
        finally:
            await database.close()

    async def redrive(self, operator: DeadLetterOperator, group: str, dead_letters: list[DeadLetter]) -> int:
        """Send all that may be sent, record this process's spans with the others, and return how many were sent."""
        attribution = Attribution("operator", new_id(), "a test")
        planned = plan_redrive(dead_letters, await operator.rows())
        with RecordedSpans(name_attribute=SAGATRACE_MESSAGE_TYPE) as spans:
            async with Producer(self.brokers) as producer:
                for dead_letter in planned.send:
                    assert await operator.begin_redrive(dead_letter, attribution)
                    await send_redrive(producer, group, dead_letter, attribution.run_id)
            self.recording.add(to_json(encode_spans(spans.finished).SerializeToString()))
        return len(planned.send)

    def of(self, placed: PlacedOrder) -> list[Span]:
        """Return the spans of an order's trace."""
        return [span for span in self.recording.spans() if span.trace_id == placed.trace_id]

    async def is_one_trace(self, placed: PlacedOrder, also: Callable[[list[Span]], bool]) -> None:
        """Wait until an order's trace has what it should, and is complete."""
        await eventually(lambda: also(self.of(placed)) and not self._findings(placed), timeout_s=30)
        assert self._findings(placed) == []

    def _findings(self, placed: PlacedOrder) -> list[str]:
        spans = self.recording.spans()
        return [str(one) for one in check(spans, saga_id=placed.saga_id, trace_id=placed.trace_id)]


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orders]:
    """The services, started once."""
    folder, recording = tmp_path_factory.mktemp("redrive"), Recording()
    with (
        embedded_broker() as brokers,
        Receiver(recording) as receiver,
        running_services(folder, brokers, receiver.endpoint, variables=_STRICT) as api,
    ):
        yield Orders(brokers, folder, api, recording)


async def test_a_dead_lettered_charge_turns_its_saga_back_and_can_be_redriven(orders: Orders) -> None:
    """The charge is answered as maybe done, so it is refunded; re-driven later it is refused; all is one trace."""
    placed = await orders.place("pm_flaky")
    await orders.reaches(placed, "failed")
    (dead_letter,) = await orders.dead_letters(PAYMENT_GROUP, 1)
    assert dead_letter.error_type == "services.payment.gateway.GatewayBusy"
    await orders.is_one_trace(placed, lambda spans: len(_named(spans, "saga order failed: dead_lettered")) == 1)
    async with orders.operator(PAYMENT_GROUP) as operator:
        assert await orders.redrive(operator, PAYMENT_GROUP, [dead_letter]) == 1
        await eventually(lambda: _are_closed(operator), timeout_s=30)
        assert await orders.redrive(operator, PAYMENT_GROUP, [dead_letter]) == 0
    retried = retry_topic(PAYMENT_GROUP)
    await orders.is_one_trace(placed, lambda spans: len(_processed_on(spans, retried)) == 1)
    assert await asyncio.to_thread(orders.api.status, placed.order_id) == "failed"
    (failed,) = [span for span in _processed_on(orders.of(placed), PAYMENT_COMMANDS) if has_failed(span)]
    (again,) = _processed_on(orders.of(placed), retried)
    assert failed.name == again.name == "process payment.charge"
    assert again.attributes["sagatrace.reply.type"] == again.status == "payment.declined"
    assert failed.span_id in {link.span_id for link in again.links}
    assert again.attributes["sagatrace.original.topic"] == "oms.payment.commands"


async def test_what_waited_behind_poison_is_drained_in_the_orders_trace(orders: Orders) -> None:
    """A refund's events wait behind poison of the order, and after a re-drive each group has its one effect of them."""
    placed = await orders.place("pm_ok")
    await orders.reaches(placed, "completed")
    async with Producer(orders.brokers) as producer:
        await producer.publish(ORDER_EVENTS, key=placed.order_id.encode(), value=b"{")
    await orders.dead_letters(NOTIFICATION_GROUP, 1)
    await asyncio.to_thread(orders.api.request, placed.order_id, Request.REFUND)
    await orders.reaches(placed, "refunded")
    dead_letters = await orders.dead_letters(NOTIFICATION_GROUP, 2)
    assert [dead_letter.state for dead_letter in dead_letters] == [DeadLetterState.FAILED, DeadLetterState.BEHIND]
    await orders.is_one_trace(placed, lambda spans: len(_named(spans, "refund order completed")) == 1)
    for group, count in {NOTIFICATION_GROUP: 2, AUDIT_GROUP: 3}.items():
        dead_letters = await orders.dead_letters(group, count)
        async with orders.operator(group) as operator:
            await operator.discard(dead_letters[0], Attribution("operator", new_id(), "it is no JSON"))
            assert await orders.redrive(operator, group, dead_letters) == count - 1
            await eventually(partial(_are_closed, operator), timeout_s=30)
    retried = [retry_topic(group) for group in (NOTIFICATION_GROUP, AUDIT_GROUP)]
    await orders.is_one_trace(placed, lambda spans: len(_processed_on(spans, *retried)) == 3)
    assert not any(span.is_error for span in _processed_on(orders.of(placed), *retried))


async def _are_closed(operator: DeadLetterOperator) -> bool:
    return all(row.closed_at is not None for row in (await operator.rows()).values())


def _named(spans: list[Span], name: str) -> list[Span]:
    return [span for span in spans if span.name == name]


def _processed_on(spans: list[Span], *topics: str) -> list[Span]:
    """Return the process spans of records of these topics."""
    return [span for span in spans if operation(span) == PROCESS and span.text(MESSAGING_DESTINATION_NAME) in topics]
