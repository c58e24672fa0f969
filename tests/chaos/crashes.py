"""Every service dies at each of its durable writes, before and after, and is started again: all services in parallel.

A service goes through its writes one after the other, and each of its processes is armed with the next crash point. So
what a process left behind is taken up by one that will die too, until the last point is passed.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from sqlalchemy import select

from services.cli.run import Service
from services.contracts import ContractError, parse_saga_event
from services.contracts.topics import (
    AUDIT_GROUP,
    INVENTORY_COMMANDS,
    INVENTORY_GROUP,
    NOTIFICATION_GROUP,
    ORCHESTRATOR_GROUP,
    ORDER_EVENTS,
    PAYMENT_COMMANDS,
    PAYMENT_GROUP,
    SAGA_EVENTS,
    SAGA_REPLIES,
    retry_topic,
)
from services.messaging.crash_points import CrashPoint, Side, Write
from services.messaging.dead_letters.headers import ORIGINAL
from services.messaging.dead_letters.topic import ConsumedRecord
from services.messaging.storage.database import Database
from services.messaging.storage.tables import INBOX, OUTBOX
from tests.chaos.customers import Customers
from tests.chaos.points import NEEDS, POISONED, WRITES
from tests.chaos.processes import READY, READY_S, Instance
from tests.chaos.system import System
from tests.support.eventually import eventually

READS = {
    Service.OMS: (ORCHESTRATOR_GROUP, SAGA_REPLIES),
    Service.INVENTORY: (INVENTORY_GROUP, INVENTORY_COMMANDS),
    Service.PAYMENT: (PAYMENT_GROUP, PAYMENT_COMMANDS),
    Service.AUDIT: (AUDIT_GROUP, SAGA_EVENTS),
    Service.NOTIFICATION: (NOTIFICATION_GROUP, ORDER_EVENTS),
}
"""The group of each service, and one of the topics that it reads."""

# How long a process may take to its point, while the others that it lives on die and start again too.
_REACHED_S = 120.0
_LOOK_S = 0.001
# What a service that runs takes at most to a record; one that it does not take is not waited for longer.
_SOON_S = 5.0


@dataclass
class Crashes:
    """Lets each service die at each of its writes.

    Args:
        system: The services, one instance of each; none runs yet.
    """

    system: System
    #: Which instance died where, in order.
    met: list[tuple[Service, CrashPoint]] = field(default_factory=list)
    #: The values that nobody can read, by the topic that they were sent to.
    poison: list[tuple[str, bytes]] = field(default_factory=list)

    async def run(self, customers: Customers) -> None:
        """Go through all writes of all services.

        Raises:
            ExceptionGroup: of AssertionError: a process did not reach its crash point, or ended elsewhere.
        """
        async with asyncio.TaskGroup() as tasks:
            for instance in self.system.instances:
                tasks.create_task(self._die_everywhere(instance, customers))

    async def _die_everywhere(self, instance: Instance, customers: Customers) -> None:
        for write in WRITES[instance.service]:
            for side in Side:
                point = CrashPoint(write, side)
                await self._die(instance, point)
                told = f"{instance.name} was to die at {point}; {customers.standing()}: {instance.output()[-2000:]}"
                assert instance.crashed_at() == point, told
                self.met.append((instance.service, point))
        # The others still need it.
        instance.start()

    async def _die(self, instance: Instance, point: CrashPoint) -> None:
        # What a dead process had in hand keeps its lease for a while; nobody settles it, also at a stop.
        dead = await self._leases(instance.service) if point.write is Write.OUTBOX_RELEASE else frozenset()
        instance.start(point, NEEDS.get(point.write))
        group, topic = READS[instance.service]
        if point.write in POISONED:
            await self._send_poison(topic, f"{point} of {instance.service}".encode())
        if point.write is Write.DEAD_LETTER_CLOSED:
            await self._drive_again(instance.service, group, topic)
        if point.write is Write.OUTBOX_RELEASE:
            await eventually(lambda: instance.has_said(READY), READY_S)
            async with self._rows_in_hand(instance.service, dead):
                instance.send(signal.SIGTERM)
                await eventually(lambda: instance.has_said("outbox.drain_timeout"), READY_S)
        with suppress(AssertionError):
            await eventually(instance.has_ended, _REACHED_S)

    async def _send_poison(self, topic: str, value: bytes) -> None:
        """Send what no service can read, under a key of its own."""
        self.poison.append((topic, value))
        await self._send(topic, value, key=value)

    async def _drive_again(self, service: Service, group: str, topic: str) -> None:
        """Send a record to the group's retry topic, as if it had failed, once the group has processed it."""
        async with AIOKafkaConsumer(
            topic, bootstrap_servers=self.system.parts.brokers, auto_offset_reset="earliest"
        ) as consumer:
            async with asyncio.timeout(_REACHED_S):
                while not await self._is_processed(service, group, record := await consumer.getone()):
                    pass
        origin = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        headers = [(f"{ORIGINAL}{name}", str(value).encode()) for name, value in origin.items()]
        await self._send(retry_topic(group), record.value, key=record.key, headers=headers)

    async def _is_processed(self, service: Service, group: str, record: ConsumedRecord) -> bool:
        """Return whether a record has its effect, now or soon: not poison, and not what waits behind a dead letter."""
        try:
            event_id = parse_saga_event(record).event_id
        except ContractError:
            return False
        with suppress(AssertionError):
            return await eventually(lambda: self._is_in_inbox(service, group, event_id), _SOON_S)
        return False

    async def _is_in_inbox(self, service: Service, group: str, event_id: UUID) -> bool:
        database = Database(self.system.parts.database, schema=service.value)
        row = (INBOX.c.consumer_group == group) & (INBOX.c.event_id == event_id)
        try:
            async with database.reading() as connection:
                return (await connection.execute(select(INBOX.c.event_id).where(row))).first() is not None
        finally:
            await database.close()

    async def _send(
        self, topic: str, value: bytes | None, *, key: bytes | None, headers: Sequence[tuple[str, bytes]] = ()
    ) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.system.parts.brokers) as producer:
            await producer.send_and_wait(topic, value, key=key, headers=list(headers))

    async def _leases(self, service: Service) -> frozenset[UUID]:
        """Read all leases."""
        database = Database(self.system.parts.database, schema=service.value)
        try:
            async with database.reading() as connection:
                found = await connection.execute(select(OUTBOX.c.lease_token).where(OUTBOX.c.lease_token.is_not(None)))
                return frozenset(found.scalars())
        finally:
            await database.close()

    @asynccontextmanager
    async def _rows_in_hand(self, service: Service, dead: frozenset[UUID]) -> AsyncIterator[None]:
        """Hold rows that a running relay has claimed and not settled, so that it is stopped with rows in hand."""
        database = Database(self.system.parts.database, schema=service.value)
        alive = OUTBOX.c.lease_token.is_not(None) & OUTBOX.c.lease_token.not_in(dead)
        claimed = select(OUTBOX.c.id).where(OUTBOX.c.sent_at.is_(None), alive)
        try:
            async with asyncio.timeout(_REACHED_S):
                while True:
                    async with database.transaction() as connection:
                        if (await connection.execute(claimed.with_for_update(skip_locked=True))).first() is not None:
                            yield
                            return
                    await asyncio.sleep(_LOOK_S)
        finally:
            await database.close()
