"""Process spans from the loop itself: what a consumer hands out is being processed by the code that follows.

```python
async for record in consumer:  # the processing of the record before ends, and that of this one begins
    await handle(record)  # its process span is current
```

`getone` (and so `async for`) begins the processing of the record that it returns. It lasts until the same task receives
from the same consumer again, the consumer is stopped or garbage-collected, the task ends, `process_span_limit` is
reached, or tracing is switched off: the first of these. A consumer that several tasks share has one record at hand in
each of them. What happens in the code is not known here, and so neither is its error.

`getmany` returns lists that do the same for each record in a `for` loop, and there the end is known: the next step, or
whatever leaves the loop. In every other way they are lists. What copies or sorts one is no `for` loop, although it
calls the same iterator: the instruction that asks for the next record tells.

A receive that is a task of its own (`create_task(consumer.getone())`) begins nothing, because no code follows in that
task. Until Python 3.11 `asyncio.wait_for` makes such a task, too: there the record is at hand in the task that waits.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable, Iterator
from opcode import opmap
from types import CodeType
from typing import Any, Final, SupportsIndex

from aiokafka import AIOKafkaConsumer, TopicPartition

from tracing import consuming
from tracing.consuming import GetMany, GetOne, Received
from tracing.deliveries import RECEIVES, Deliveries
from tracing.telemetry import OpenDeliveries, Telemetry

Stop = Callable[..., Awaitable[None]]

#: The instruction at the head of a `for` loop, and of a comprehension.
_FOR: Final = opmap["FOR_ITER"]
#: What follows an instruction. Python 3.12 stands there while a generator runs, once it has adapted a loop to one.
_CACHE: Final = opmap["CACHE"]


class Batch(list[Received]):
    """The records of one partition that `getmany` has returned."""

    __slots__ = ("_deliveries",)

    def __init__(self, records: list[Received], deliveries: OpenDeliveries) -> None:
        super().__init__(records)
        self._deliveries = deliveries

    def __iter__(self) -> Iterator[Received]:
        """Hand out the records, each to be processed if a `for` loop asks for it."""
        code: CodeType | None = None
        at = -1
        is_loop = False
        for record in super().__iter__():
            # The frame that asks; what runs in C has none.
            frame = sys._getframe(1)  # noqa: SLF001 - there is no other way
            if frame.f_lasti != at or frame.f_code is not code:
                code, at = frame.f_code, frame.f_lasti
                is_loop = _is_loop(code.co_code, at)
            delivery = self._deliveries.step(record) if is_loop else None
            if delivery is None:
                yield record
                continue
            try:
                yield record
            finally:
                self._deliveries.end(delivery)

    def __reduce_ex__(self, _: SupportsIndex) -> tuple[type[list[Any]], tuple[list[Received]]]:
        """Copy and pickle as a list: who reads it may know nothing of tracing."""
        return list, (self[:],)


def _is_loop(instructions: bytes, at: int) -> bool:
    """Return whether the instruction at a place is the head of a `for` loop."""
    return instructions[at] == _FOR or (instructions[at] == _CACHE and instructions[at - 2] == _FOR)


def _batches(
    records: dict[TopicPartition, list[Received]], deliveries: OpenDeliveries
) -> dict[TopicPartition, list[Received]]:
    # Not even a client of another make may lose a record here.
    if type(records) is not dict or not deliveries.hands_out:
        return records
    return {tp: Batch(batch, deliveries) for tp, batch in records.items()}


def wrap_getone(original: GetOne, telemetry: Telemetry) -> GetOne:
    """Return `getone` that is traced, and begins the processing of what it returns."""
    polled = consuming.wrap_getone(original, telemetry)

    @functools.wraps(original)
    async def getone(self: AIOKafkaConsumer, *partitions: TopicPartition) -> Received:
        deliveries = telemetry.deliveries.get(id(self)) or Deliveries.first(telemetry, self)
        if deliveries is None:
            return await original(self, *partitions)
        task = deliveries.put_down()
        record = await polled(self, *partitions)
        deliveries.hand_out(record, task)
        return record

    RECEIVES.add(getattr(getone, "__code__", None))
    return getone


def wrap_getmany(original: GetMany, telemetry: Telemetry) -> GetMany:
    """Return `getmany` that is traced, and whose lists begin the processing of what they hand out."""
    polled = consuming.wrap_getmany(original, telemetry)

    @functools.wraps(original)
    async def getmany(
        self: AIOKafkaConsumer,
        *partitions: TopicPartition,
        **kwargs: Any,  # noqa: ANN401 - passed on
    ) -> dict[TopicPartition, list[Received]]:
        deliveries = telemetry.deliveries.get(id(self)) or Deliveries.first(telemetry, self)
        if deliveries is None:
            return await original(self, *partitions, **kwargs)
        deliveries.put_down()
        records = await polled(self, *partitions, **kwargs)
        return _batches(records, deliveries)

    return getmany


def wrap_stop(original: Stop, telemetry: Telemetry) -> Stop:
    """Return `stop` that ends the processing of what the consumer has handed out."""

    @functools.wraps(original)
    async def stop(self: AIOKafkaConsumer) -> None:
        if (deliveries := telemetry.deliveries.get(id(self)) or Deliveries.first(telemetry, self)) is not None:
            deliveries.stop()
        await original(self)

    return stop
