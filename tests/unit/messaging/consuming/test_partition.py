"""One assigned partition: order, keys, drain."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition

from services.messaging.consuming.offsets import OffsetsWentBack
from services.messaging.consuming.partition import Partition
from tests.support.eventually import eventually
from tests.support.records import record

TP = TopicPartition("t", 0)


@asynccontextmanager
async def partition(deliver: Callable[[Any], Awaitable[None]], concurrency: int = 1) -> AsyncIterator[Partition]:
    """A partition that is closed after the test."""
    opened = Partition(TP, deliver, concurrency)
    yield opened
    await opened.close()


class Gate:
    """A delivery whose records end when the test says so."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self._gates: dict[int, asyncio.Event] = {}

    async def __call__(self, delivered: Any) -> None:
        """Begin, wait, end."""
        self.begun.append(delivered.offset)
        await self._gates.setdefault(delivered.offset, asyncio.Event()).wait()
        self.ended.append(delivered.offset)

    def end(self, *offsets: int) -> None:
        """Let records end, also ones that have not begun."""
        for offset in offsets:
            self._gates.setdefault(offset, asyncio.Event()).set()


async def test_records_are_handled_one_after_the_other() -> None:
    """With one worker the second record begins when the first has ended, whatever their keys."""
    gate = Gate()
    async with partition(gate) as one:
        one.take([record(offset=3, key=b"a"), record(offset=4, key=b"b")])
        await eventually(lambda: gate.begun)
        assert (gate.begun, one.in_flight, one.to_commit()) == ([3], 2, None)
        gate.end(3)
        await eventually(lambda: gate.begun == [3, 4])
        assert (one.in_flight, one.to_commit()) == (1, 4)


async def test_one_worker_keeps_the_order_of_the_partition() -> None:
    """With one worker a key whose next record is older than another key's comes first, as it stands in the log."""
    gate = Gate()
    async with partition(gate) as one:
        one.take([record(offset=n, key=key) for n, key in enumerate([b"a", b"a", b"b", b"a"], 1)])
        gate.end(1, 2, 3, 4)
        await eventually(lambda: len(gate.ended) == 4)
        assert gate.begun == [1, 2, 3, 4]


async def test_keys_wait_for_no_other_key() -> None:
    """Another key passes a record that takes long, and the same key does not; nor does the commit."""
    gate = Gate()
    async with partition(gate, concurrency=100) as one:
        one.take([record(offset=1, key=b"a"), record(offset=2, key=b"b"), record(offset=3, key=b"a")])
        gate.end(2, 3)
        await eventually(lambda: gate.ended == [2])
        assert (gate.begun, one.to_commit()) == ([1, 2], None)
        gate.end(1)
        await eventually(lambda: gate.ended == [2, 1, 3])
        assert one.to_commit() == 4


async def test_as_many_keys_as_workers_are_handled_at_once() -> None:
    """No key waits for a worker while one is free: 50 keys begin on 50 workers, and the 51st when one of them ends."""
    gate = Gate()
    async with partition(gate, concurrency=50) as one:
        one.take([record(offset=n, key=b"%d" % n) for n in range(51)])
        await eventually(lambda: len(gate.begun) == 50)
        assert gate.begun == list(range(50))
        gate.end(17)
        await eventually(lambda: gate.begun[-1] == 50)
        assert gate.ended == [17]


async def test_a_key_that_comes_later_finds_a_free_worker() -> None:
    """A record that arrives while a worker is busy begins at once on another one."""
    gate = Gate()
    async with partition(gate, concurrency=2) as one:
        one.take([record(offset=1, key=b"a")])
        await eventually(lambda: gate.begun == [1])
        one.take([record(offset=2, key=b"a"), record(offset=3, key=b"b")])
        await eventually(lambda: gate.begun == [1, 3])


async def test_records_without_a_key_are_spread() -> None:
    """A record without a key waits for no other one."""
    gate = Gate()
    async with partition(gate, concurrency=2) as one:
        one.take([record(offset=1, key=None), record(offset=2, key=None)])
        await eventually(lambda: sorted(gate.begun) == [1, 2])


async def test_a_record_that_comes_as_the_last_worker_ends_is_handled() -> None:
    """A record between a worker's last step and the notice of its end waits for nobody else to come."""
    handled: list[int] = []

    async def deliver(delivered: Any) -> None:
        handled.append(delivered.offset)
        if delivered.offset == 1:
            # Before the worker's own end is told.
            asyncio.get_running_loop().call_soon(one.take, [record(offset=2)])

    async with partition(deliver) as one:
        one.take([record(offset=1)])
        await eventually(lambda: handled == [1, 2])


async def test_a_drain_takes_up_nothing_more() -> None:
    """A drain ends with what has begun; what waited is not touched and not committed."""
    gate = Gate()
    async with partition(gate) as one:
        one.take([record(offset=1), record(offset=2)])
        await eventually(lambda: gate.begun)
        draining = asyncio.create_task(one.drain())
        await asyncio.sleep(0)
        gate.end(1, 2)
        await asyncio.wait_for(draining, 50)
        assert (gate.begun, one.to_commit()) == ([1], 2)


async def test_a_drain_may_come_before_the_first_step() -> None:
    """What was taken and not begun at all is left alone by a drain that comes in the same moment."""
    gate = Gate()
    async with partition(gate, concurrency=2) as one:
        one.take([record(offset=1, key=b"a"), record(offset=2, key=b"b")])
        async with asyncio.timeout(50):
            await one.drain()
        assert (gate.begun, one.to_commit()) == ([], None)


async def test_what_is_left_when_it_closes_is_not_committed() -> None:
    """Work that is cancelled counts as not done, and a closed partition is not a dead one."""
    gate = Gate()
    async with partition(gate) as one:
        one.take([record(offset=1)])
        await eventually(lambda: gate.begun)
        await one.close()
        one.raise_if_dead()
        assert (gate.ended, one.to_commit()) == ([], None)


async def test_a_commit_is_due_once() -> None:
    """What was committed is not due again; the first offset taken is where the group stands already."""
    gate = Gate()
    async with partition(gate) as one:
        one.take([record(offset=8)])
        assert one.to_commit() is None
        gate.end(8)
        assert await eventually(one.to_commit) == 9
        one.committed(9)
        assert one.to_commit() is None


@pytest.mark.parametrize("error", [LookupError("a bug"), asyncio.CancelledError()])
async def test_a_dead_worker_is_told(error: BaseException) -> None:
    """A worker that died, also by a cancellation that nobody asked for, ends the consumer instead of stalling it."""

    async def die(_: object) -> None:
        raise error

    async with partition(die) as one:
        one.take([record(offset=1)])
        with pytest.raises((LookupError, RuntimeError)):
            await eventually(one.raise_if_dead, timeout_s=5)


async def test_offsets_that_go_back_are_told() -> None:
    """A record at or below the last one is an error of its own kind."""
    async with partition(Gate()) as one:
        one.take([record(offset=5)])
        with pytest.raises(OffsetsWentBack, match="offset 4 comes after 5"):
            one.take([record(offset=4)])
