"""The books of a system that ran: what each service has recorded, compared with what the broker holds."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import Select, select

from services.audit.tables import trail
from services.contracts.topics import PARTITIONS, READERS, dead_letter_topic
from services.inventory.tables import movements
from services.messaging.storage.database import Database
from services.messaging.storage.tables import OUTBOX
from services.notification.tables import notifications
from services.oms.tables import history, orders, sagas
from services.payment.gateway_tables import entries

_SENDERS = ("oms", "inventory", "payment")
_POLL_MS = 500

Sent = dict[tuple[str, str], list[str]]
"""The ids of the messages of each (topic, key), in order."""


@dataclass(frozen=True)
class Books:
    """What is on record in one PostgreSQL database and on one broker.

    Args:
        url: The database's.
        brokers: `host:port`.
    """

    url: str
    brokers: str

    async def outcomes(self) -> dict[str, str]:
        """Return the status of each order's saga."""
        return {row.order_id: row.status for row in await self._read("oms", select(sagas))}

    async def inputs(self, kind: str) -> list[datetime]:
        """Return when inputs of a kind moved a saga."""
        moves = select(history).where(history.c.input == kind)
        return [row.at for row in await self._read("oms", moves)]

    async def effects(self) -> Counter[tuple[str, str]]:
        """Count the effects of each order's saga on the stock and at the gateway."""
        order_of = {row.saga_id: row.order_id for row in await self._read("oms", select(sagas))}
        moved = await self._read("inventory", select(movements).where(movements.c.saga_id.is_not(None)))
        charged = await self._read("payment_gateway", select(entries))
        effects = [(order_of[row.saga_id], row.kind) for row in moved]
        return Counter(effects + [(order_of[row.key.partition(":")[0]], row.kind) for row in charged])

    async def unsent(self) -> int:
        """Count the messages that no relay has sent."""
        waiting = select(OUTBOX.c.id).where(OUTBOX.c.sent_at.is_(None))
        return sum([len(await self._read(service, waiting)) for service in _SENDERS])

    async def unsent_orders(self) -> Counter[tuple[str, int]]:
        """Count what the orchestrator has not sent, by type and version."""
        waiting = select(OUTBOX.c.value).where(OUTBOX.c.sent_at.is_(None))
        return Counter(_identity(row.value) for row in await self._read("oms", waiting))

    async def notices(self) -> Counter[tuple[str, str]]:
        """Count the notices that customers got, by order and template."""
        sent = await self._read("notification", select(notifications))
        return Counter((row.order_id, row.template) for row in sent)

    async def audited(self) -> Counter[tuple[str, str, int, bool]]:
        """Count what is in the trail, by order, type and version, and whether it was known."""
        kept = await self._read("audit", select(trail))
        return Counter((row.order_id, *_identity(row.value), row.is_known) for row in kept)

    async def windows(self) -> dict[str, tuple[datetime | None, datetime | None]]:
        """Return the delivery window of each order."""
        return {
            row.order_id: (row.deliver_after, row.deliver_before) for row in await self._read("oms", select(orders))
        }

    async def written(self) -> list[Sent]:
        """Return what each service wanted to send."""
        return [_by_key(await self._read(service, select(OUTBOX).order_by(OUTBOX.c.id))) for service in _SENDERS]

    async def arrived(self) -> Sent:
        """Return what the broker holds; a message that was sent twice is in its first place."""
        found: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        for record in await _records(self.brokers, list(READERS)):
            found[record.topic, record.key.decode()][json.loads(record.value)["event_id"]] = None
        return {where: list(ids) for where, ids in found.items()}

    async def dead_letters(self) -> int:
        """Count the dead letters of all groups."""
        groups = sorted({group for groups in READERS.values() for group in groups})
        return len(await _records(self.brokers, [dead_letter_topic(group) for group in groups]))

    async def _read(self, schema: str, query: Select[Any]) -> Sequence[Any]:
        database = Database(self.url, schema=schema)
        try:
            async with database.reading() as connection:
                found: Sequence[Any] = (await connection.execute(query)).all()
                return found
        finally:
            await database.close()


def out_of_order(written: Sequence[Sent], arrived: Sent) -> list[tuple[str, str]]:
    """Return each (topic, key) of which the broker does not hold what was written, or in another order."""
    wrong = []
    for sent in written:
        for where, ids in sent.items():
            ours = set(ids)
            if [one for one in arrived.get(where, []) if one in ours] != ids:
                wrong.append(where)
    return wrong


def _identity(value: bytes) -> tuple[str, int]:
    fields = json.loads(value)
    return fields["event_type"], fields["schema_version"]


def _by_key(rows: Sequence[Any]) -> Sent:
    found: Sent = defaultdict(list)
    for row in rows:
        found[row.topic, row.key].append(str(row.event_id))
    return found


async def _records(brokers: str, topics: Sequence[str]) -> list[Any]:
    """Read topics from beginning to end."""
    reader = AIOKafkaConsumer(bootstrap_servers=brokers, auto_offset_reset="earliest")
    await reader.start()
    try:
        partitions = [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]
        reader.assign(partitions)
        ends = await reader.end_offsets(partitions)
        records: list[Any] = []
        while len(records) < sum(ends.values()):
            polled = await reader.getmany(timeout_ms=_POLL_MS)
            records.extend(record for batch in polled.values() for record in batch)
        return records
    finally:
        await reader.stop()
