"""A group with a database, whose topics are in memory: re-driven records are delivered when the test says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aiokafka import ConsumerRecord

from services.contracts import Message, encode, new_id
from services.messaging.consuming.delivery import Delivery
from services.messaging.dead_letters.headers import DeadLetter, read_dead_letter
from services.messaging.dead_letters.ledger import Answer, DeadLetterLedger
from services.messaging.dead_letters.operator import Attribution, DeadLetterOperator
from services.messaging.dead_letters.redrive import RedrivePlan, plan_redrive, send_redrive
from services.messaging.storage.database import Database
from services.messaging.storage.inbox import Inbox
from tests.support.ladder import GROUP, delivery
from tests.support.records import DeadLetterTopic, message, record


@dataclass
class Refusing:
    """A handler with an inbox, which refuses the messages with some sequence numbers."""

    database: Database
    refused: set[int] = field(default_factory=set)
    handled: list[tuple[str, int]] = field(default_factory=list)

    async def __call__(self, message: Message) -> None:
        """Handle one message, once."""
        async with self.database.transaction() as connection:
            if not await Inbox(GROUP).first_delivery(connection, message.event_id):
                return
            if message.sequence in self.refused:
                raise ValueError
        self.handled.append((message.order_id, message.sequence))


class Group:
    """One member of a group; several may share a database, and `beside` another one its topics too."""

    def __init__(
        self,
        database: Database,
        *,
        handler: Refusing | None = None,
        answer: Answer | None = None,
        beside: Group | None = None,
        **options: Any,
    ) -> None:
        self.handler = handler or Refusing(database)
        self.dead_letters: DeadLetterTopic = DeadLetterTopic() if beside is None else beside.dead_letters
        self.retries: DeadLetterTopic = DeadLetterTopic() if beside is None else beside.retries
        self.operator = DeadLetterOperator(database, GROUP)
        self.ledger = DeadLetterLedger(database, GROUP, answer)
        self.delivery: Delivery = delivery(self.handler, self.dead_letters, ledger=self.ledger, **options)
        self._offset = 0

    def new(self, order: str, sequence: int, **options: Any) -> ConsumerRecord[bytes, bytes]:
        """Return the next record of the group's topic."""
        self._offset += 1
        value = options.pop("value", None) or encode(message(order, sequence))
        return record(value, offset=self._offset, key=order.encode(), **options)

    async def receive(self, *records: ConsumerRecord[bytes, bytes]) -> None:
        """Deliver records of the group's topic."""
        for one in records:
            await self.delivery.deliver(one)

    @property
    def topic(self) -> list[DeadLetter]:
        """The dead letters in the topic."""
        return [
            read_dead_letter(record(one.value, topic=one.topic, offset=at, key=one.key, headers=one.headers))
            for at, one in enumerate(self.dead_letters.kept)
        ]

    async def planned(self, **options: Any) -> RedrivePlan:
        """Plan a re-drive."""
        return plan_redrive(self.topic, await self.operator.rows(), **options)

    async def redrive(self, **options: Any) -> int:
        """Send what is planned to the retry topic, and return how many records that were."""
        attribution = Attribution("operator", new_id())
        sent = (await self.planned(**options)).send
        for dead_letter in sent:
            assert await self.operator.begin_redrive(dead_letter, attribution, force=options.get("force", False))
            await send_redrive(self.retries, GROUP, dead_letter, attribution.run_id)
        return len(sent)

    async def receive_retries(self) -> None:
        """Deliver what is in the retry topic, and empty it."""
        taken, self.retries.kept = self.retries.kept, []
        for at, one in enumerate(taken):
            await self.delivery.deliver(
                record(one.value, topic=one.topic, offset=at, key=one.key, headers=one.headers),
            )
