"""A producer that keeps what it is given, for tests of what uses a producer."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from services.contracts import parse_message


@dataclass(frozen=True)
class Acknowledged:
    """Where a record was written."""

    partition: int
    offset: int


@dataclass
class KeepingPublisher:
    """Takes records; those of a blocked key wait until it is unblocked, those of a refused key fail."""

    refused: set[str] = field(default_factory=set)
    blocked: dict[str, asyncio.Event] = field(default_factory=dict)
    #: Keys in the order of their records' acknowledgement, and the messages' sequences for each key.
    keys: list[str] = field(default_factory=list)
    sequences: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    most_in_flight: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    error: Exception = field(default_factory=lambda: ConnectionError("nobody is there"))
    _in_flight: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def block(self, key: str) -> None:
        """Make the records of a key wait."""
        self.blocked[key] = asyncio.Event()

    async def publish(self, topic: str, *, key: bytes | None, value: bytes | None) -> Acknowledged:
        """Take one record."""
        assert topic
        assert key is not None
        name = key.decode()
        self._in_flight[name] += 1
        self.most_in_flight[name] = max(self.most_in_flight[name], self._in_flight[name])
        try:
            await self._wait(name)
        finally:
            self._in_flight[name] -= 1
        self.keys.append(name)
        self.sequences[name].append(parse_message(value).sequence)
        return Acknowledged(partition=3, offset=len(self.keys))

    async def _wait(self, name: str) -> None:
        await asyncio.sleep(0)
        if name in self.blocked:
            await self.blocked[name].wait()
        if name in self.refused:
            raise self.error
