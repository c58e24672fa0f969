"""A consumer that a test feeds: aiokafka's own, with records in the place of a fetcher."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError

from tests.support.records import record

Received = ConsumerRecord[Any, Any]


def traced_record(number: int, topic: str = "orders") -> Received:
    """Return a record whose sender's trace id and span id are its number, from 1."""
    traceparent = b"00-%032x-%016x-01" % (number, number)
    return record(b"%d" % number, topic=topic, partition=0, offset=number, headers=[("traceparent", traceparent)])


class _Fetcher:
    """Hands out what it is fed, and waits otherwise."""

    def __init__(self, records: Sequence[Received]) -> None:
        self.records = list(records)
        self._fed = asyncio.Event()
        self._closed = False

    def feed(self, *records: Received) -> None:
        self.records.extend(records)
        self._fed.set()

    async def next_record(self, _: object) -> Received:
        while not self.records:
            if self._closed:
                raise ConsumerStoppedError
            self._fed.clear()
            await self._fed.wait()
        return self.records.pop(0)

    async def fetched_records(
        self, _: object, _timeout: float, max_records: int | None
    ) -> dict[TopicPartition, list[Received]]:
        found: dict[TopicPartition, list[Received]] = {}
        for one in self.records[:max_records]:
            found.setdefault(TopicPartition(one.topic, one.partition), []).append(one)
        del self.records[:max_records]
        return found

    async def close(self) -> None:
        self._closed = True
        self._fed.set()


class _Nothing:
    """A coordinator, or a subscription, that has nothing to say."""

    def check_errors(self) -> None:
        """Know of none."""

    async def close(self) -> None:
        """Do nothing."""

    @contextmanager
    def fetch_context(self) -> Iterator[None]:
        yield


class FedConsumer(AIOKafkaConsumer):
    """A consumer that returns the given records, and then those that it is fed."""

    def __init__(self, *records: Received, group: str | None = "g") -> None:
        super().__init__(group_id=group)  # type: ignore[no-untyped-call]
        self.source = _Fetcher(records)
        nothing: Any = _Nothing()
        self._fetcher = self.source
        self._coordinator = self._subscription = nothing

    async def stop(self) -> None:
        """Stop it."""
        await super().stop()  # type: ignore[no-untyped-call]

    def __del__(self, _: object = None) -> None:
        """Say nothing of a consumer that was not stopped: it holds no connection."""


def fed(*numbers: int, topic: str = "orders", group: str | None = "g") -> FedConsumer:
    """Return a consumer of records with these numbers."""
    return FedConsumer(*(traced_record(number, topic) for number in numbers), group=group)
