"""How records are taken from the client: all partitions at once, or each by itself once a record can't be read.

The client reads records as they are taken, and raises out of the whole call for one that it can't read: a header whose
name is not UTF-8, a batch that does not decompress or whose checksum is wrong (aiokafka 0.14). What it had taken from
other partitions in that call is lost to the caller, and the next call meets the same record again.

So after such an error a new, careful membership begins: it asks partitions one after the other, and the one that raises
record by record. A record that can't be read can't be kept anywhere either, so its partition is held there: nothing is
lost, the other partitions go on, and the service says which record it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException, KafkaError

from services.messaging.errors import MessagingError
from services.messaging.settings import ConsumerSettings

Batches = Mapping[TopicPartition, Sequence[ConsumerRecord[bytes, bytes]]]


class Unreadable(MessagingError):
    """The client can't read a record; whatever else it took in that call is lost to this membership."""


class Intake:
    """Takes records from one client.

    Args:
        client: The member.
        settings: Times and sizes.
        careful: Whether to expect a record that can't be read.
    """

    def __init__(self, client: AIOKafkaConsumer, settings: ConsumerSettings, *, careful: bool) -> None:
        self._client = client
        self._settings = settings
        self._careful = careful
        self._stepwise: set[TopicPartition] = set()
        #: The turn in which a partition was last taken from; the one with the lowest comes next.
        self._turn: dict[TopicPartition, int] = {}
        self._turns = 0
        self._log = structlog.get_logger(__name__)
        #: The partitions that are held, with the offset of the record that can't be read.
        self.held: dict[TopicPartition, int] = {}

    async def take(self, partitions: Iterable[TopicPartition], *, most: int | None = None) -> Batches:
        """Return what is there, at most `most` records, after waiting for it up to the poll timeout.

        Raises:
            KafkaError: the client can't be used any more.
            Unreadable: as before, and the next membership has to be careful.
        """
        most = self._settings.max_poll_records if most is None else most
        if self._careful:
            return await self._take_each(list(partitions), most)
        timeout_ms = round(self._settings.poll_timeout * 1000)
        try:
            return await self._client.getmany(timeout_ms=timeout_ms, max_records=most)
        except Exception as error:
            if _is_about_a_record(error):
                raise Unreadable(f"a record can't be read ({type(error).__name__})") from error
            raise

    def forget(self) -> None:
        """Start over with the partitions of another assignment."""
        self._stepwise.clear()
        self.held.clear()

    def pass_by(self, topic_partition: TopicPartition) -> None:
        """Go on behind the record that a partition is held at."""
        offset = self.held.pop(topic_partition)
        self._client.seek(topic_partition, offset + 1)
        self._client.resume(topic_partition)
        where = {"topic": topic_partition.topic, "partition": topic_partition.partition, "offset": offset}
        self._log.warning("consumer.skipped", **where)

    async def _take_each(self, partitions: Sequence[TopicPartition], most: int) -> Batches:
        """Take from the next partition that has records; they are handed on before a rebalance can begin."""
        for topic_partition in sorted(partitions, key=lambda one: self._turn.get(one, 0)):
            if topic_partition not in self.held and (batches := await self._take_one(topic_partition, most)):
                self._turns += 1
                self._turn[topic_partition] = self._turns
                return batches
        await asyncio.sleep(self._settings.poll_timeout)
        return {}

    async def _take_one(self, topic_partition: TopicPartition, most: int) -> Batches:
        most = 1 if topic_partition in self._stepwise else most
        try:
            return await self._client.getmany(topic_partition, max_records=most)
        except Exception as error:
            if not _is_about_a_record(error):
                raise
            if topic_partition in self._stepwise:
                await self._hold(topic_partition, error)
            # A call that raises leaves the position where it was: before the batch, or before the one record.
            self._stepwise.add(topic_partition)
            return {}

    async def _hold(self, topic_partition: TopicPartition, error: Exception) -> None:
        offset = self.held[topic_partition] = await self._client.position(topic_partition)
        self._client.pause(topic_partition)
        self._log.error(
            "consumer.held",
            topic=topic_partition.topic,
            partition=topic_partition.partition,
            offset=offset,
            error_type=type(error).__name__,
        )


def _is_about_a_record(error: Exception) -> bool:
    """Return whether an error is about one record, not the client, which passes on whatever a decoder raises."""
    return isinstance(error, CorruptRecordException) or not isinstance(error, KafkaError | ConsumerStoppedError)
