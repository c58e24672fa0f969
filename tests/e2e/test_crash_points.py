"""A service that is killed at any of its durable writes loses nothing, does nothing twice, and breaks no trace."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from services.audit.writes import AuditWrite
from services.contracts.topics import dead_letter_topic
from services.inventory.writes import InventoryWrite
from services.messaging.crash_points import CrashPoint, Side, Write
from services.notification.writes import NotificationWrite
from services.oms.writes import OmsWrite
from services.payment.writes import PaymentWrite
from tests.chaos.crashes import READS, Crashes
from tests.chaos.nursery import Nursery
from tests.chaos.points import OPERATOR, WRITES
from tests.chaos.run import play
from tests.chaos.system import BROKER, Parts, system
from tests.servers.jaeger import JaegerAddress
from tests.servers.pool import Servers
from tests.support.databases import postgresql_database
from tests.support.eventually import eventually

# A minute and a half on two cores of one's own; a shared machine is slow at times.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def parts(servers: Servers, postgres: str, jaeger: JaegerAddress) -> Iterator[Parts]:
    """A broker that soon notices a dead member, an empty database, and Jaeger."""
    with postgresql_database(postgres) as database:
        yield Parts(servers.kafka(BROKER).bootstrap, database, jaeger.url, jaeger.otlp_http)


def test_every_durable_write_belongs_to_a_service() -> None:
    """No write is left out: each one, except an operator's, belongs to a service that dies there in the next test."""
    own = {*OmsWrite, *InventoryWrite, *PaymentWrite, *AuditWrite, *NotificationWrite}
    assert {write for writes in WRITES.values() for write in writes} | OPERATOR == {*Write, *own}


async def test_a_crash_at_any_durable_write_loses_nothing(parts: Parts, tmp_path: Path) -> None:
    """Every service dies before and after each of its writes: all sagas end, the books balance, traces are whole."""
    with Nursery() as nursery, system(tmp_path, parts, nursery.start) as services:
        crashes = Crashes(services)
        left = await play(services, 1, crashes.run)
    everywhere = [
        (service, CrashPoint(write, side)) for service, writes in WRITES.items() for write in writes for side in Side
    ]
    assert set(crashes.met) == set(everywhere)
    assert list(left.faults()) == []
    assert {saga.order_id for saga in left.books.sagas.values()} == set(left.orders)
    for group, topic in READS.values():
        poison = {value for sent_to, value in crashes.poison if sent_to == topic}
        assert poison <= await _dead_letters(parts.brokers, group, poison)


async def _dead_letters(brokers: str, group: str, wanted: set[bytes]) -> set[bytes]:
    """Read a group's dead letters until all expected ones are there."""
    found: set[bytes] = set()
    topic = dead_letter_topic(group)
    async with AIOKafkaConsumer(topic, bootstrap_servers=brokers, auto_offset_reset="earliest") as consumer:

        async def are_there() -> bool:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found.update(record.value for record in records if record.value is not None)
            return wanted <= found

        await eventually(are_there, timeout_s=20)
    return found
