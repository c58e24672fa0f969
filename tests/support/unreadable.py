"""Records that Kafka accepts and aiokafka can't read: to Kafka, a header's name need not be UTF-8."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.producer import message_accumulator, producer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.structs import RecordMetadata


class Name(str):
    """A header's name that is encoded to invalid bytes."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        """Return bytes that are not UTF-8."""
        return b"\xff\xfe"


async def send_unreadable(brokers: str, topic: str, key: bytes) -> RecordMetadata:
    """Send a record whose header has such a name, and return where it is."""
    with _lenient_builder():
        async with AIOKafkaProducer(bootstrap_servers=brokers) as client:
            sent: RecordMetadata = await client.send_and_wait(topic, b"{}", key=key, headers=[(Name("x"), b"")])
            return sent


@contextmanager
def _lenient_builder() -> Iterator[None]:
    """Build records in Python: the compiled builder takes plain strings only."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (message_accumulator, producer):
            patch.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
        yield
