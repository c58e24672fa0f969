"""A participant: a service with a consumer group and a database, declared by what distinguishes it from the others.

All participants are assembled in the same way, and stopped in the same order: first what takes requests, then the
consumer, then the loops, and the relay last, so that it still sends what the others have written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from services.contracts import parse_saga_event
from services.contracts.topics import retry_topic
from services.messaging.breaker import BreakerRow
from services.messaging.consumer import Consumer
from services.messaging.consuming import Decode, Handler
from services.messaging.dead_letters import DeadLetterLedger, dead_letter_answers
from services.messaging.outbox import OnSent, Outbox, Relay, backlog_gauges
from services.messaging.part import Part
from services.messaging.producer import Producer
from services.messaging.readiness import Readiness
from services.messaging.runtime import run_service
from services.messaging.settings import ConsumerSettings, DatabaseSettings, KafkaSettings, RetentionSettings
from services.messaging.storage import Database, Inbox, Prune, pruning_loop, upgrade
from services.messaging.topic_differences import log_differences

# How many keys of a partition a service handles at the same time, if the environment does not say.
_CONCURRENCY = 64


@dataclass(frozen=True)
class Work:
    """What a participant does, besides what all participants do.

    Args:
        consumer: Hands the messages to the participant's handler; made by `Resources.consumer`.
        entries: What takes requests.
        loops: What else runs.
        prunes: What else is pruned, each with its retention in seconds.
        on_sent: Called by the relay for the messages that were sent.
    """

    consumer: Consumer
    entries: Sequence[Part] = ()
    loops: Sequence[Part] = ()
    prunes: Sequence[Prune] = ()
    on_sent: OnSent | None = None


@dataclass(frozen=True)
class Participant:
    """The declaration of a participant.

    Args:
        name: The service's name: of its logs and spans, of its database, and of its client on the broker.
        group: The consumer group.
        topics: What the group reads; its retry topic is added.
        work: Opens what is the participant's own, and closes it once everything has stopped.
        writes: The names of its own durable writes.
        sends: Whether it has an outbox.
    """

    name: str
    group: str
    topics: Sequence[str]
    work: Callable[[Resources], AbstractAsyncContextManager[Work]]
    writes: type[StrEnum]
    sends: bool = True

    async def run(self) -> None:
        """Run the service until a signal ends it.

        Raises:
            Exception: as `run_service`.
        """
        await run_service(self.name, self.parts, writes=self.writes)

    @asynccontextmanager
    async def parts(self, readiness: Readiness) -> AsyncIterator[Sequence[Part]]:
        """Open the service's database and broker, and return its parts in the order in which they are stopped."""
        url = DatabaseSettings.read().url_of(self.name)
        brokers = KafkaSettings.read().bootstrap_servers
        retention = RetentionSettings.read()
        await upgrade(url, self.name)
        database = Database(url, schema=self.name)
        try:
            resources = Resources(
                self,
                brokers,
                url,
                database,
                Inbox(self.group),
                Outbox(database),
                Producer(brokers, client_id=self.name),
                readiness,
                retention,
            )
            async with self.work(resources) as work, resources.producer:
                await log_differences(brokers, [self.group])
                yield resources.parts(work)
        finally:
            await database.close()


@dataclass(frozen=True)
class Resources:
    """What a participant works with: its database, inbox, outbox, and its connection to the broker."""

    participant: Participant
    brokers: str
    database_url: str
    database: Database
    inbox: Inbox
    outbox: Outbox
    producer: Producer
    readiness: Readiness
    retention: RetentionSettings

    def consumer(self, handler: Handler, *, decode: Decode = parse_saga_event) -> Consumer:
        """Return the participant's consumer."""
        group = self.participant.group
        answer = dead_letter_answers(self.outbox) if self.participant.sends else None
        return Consumer(
            self.brokers,
            group,
            [*self.participant.topics, retry_topic(group)],
            handler,
            producer=self.producer,
            readiness=self.readiness,
            ledger=DeadLetterLedger(self.database, group, answer),
            trips=BreakerRow(self.database, group),
            decode=decode,
            settings=_many_at_once(ConsumerSettings.read()),
        )

    def parts(self, work: Work) -> Sequence[Part]:
        """Return all parts in the order in which they are stopped."""
        return [*work.entries, work.consumer, *work.loops, self._pruning(work.prunes), *self._sending(work.on_sent)]

    def _pruning(self, prunes: Sequence[Prune]) -> Part:
        sent = [(self.outbox.prune, self.retention.sent)] if self.participant.sends else []
        received = (self.inbox.prune, self.retention.inbox)
        return pruning_loop(self.database, self.retention.interval, *sent, received, *prunes)

    def _sending(self, on_sent: OnSent | None) -> Sequence[Part]:
        if not self.participant.sends:
            return []
        relay = Relay(self.database, self.outbox, self.producer, on_sent=on_sent, readiness=self.readiness)
        return [backlog_gauges(self.database, self.outbox), relay]


def _many_at_once(settings: ConsumerSettings) -> ConsumerSettings:
    """Return settings by which many keys of a partition are handled at the same time, unless the environment says.

    The handlers of the services share a transaction then: the more wait, the less each costs.
    """
    if "max_concurrency" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"max_concurrency": _CONCURRENCY})
