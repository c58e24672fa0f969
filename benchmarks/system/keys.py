"""Order by key with concurrency over keys: 10,000 messages of 0 to 5 ms of work over 100 keys.

The work is the same as in the published comparison of Confluent's parallel consumer. Two things are measured: the
partition's scheduler alone, and a whole consumer on a broker, which decodes, traces and commits. The time is that of
handling: from the start of the first message to the end of the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition

from benchmarks import machine, processes
from benchmarks.processes import Failed
from services.contracts import Message, encode
from services.contracts.events import SagaStarted
from services.messaging.consumer import Consumer
from services.messaging.consuming.partition import Partition
from services.messaging.errors import MessagingError
from services.messaging.settings import ConsumerSettings

#: Seconds of work, at most.
LONGEST_S: Final = 0.005
_TOPIC: Final = "bench.keys"
_LIMIT_S: Final = 120.0
_SEED: Final = 20_261_125


@dataclass
class Handling:
    """Handles messages, and records when and in which order."""

    messages: int
    work: list[float] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0
    done: int = 0
    order: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, key: str, number: int) -> None:
        """Do a message's work."""
        self.began = self.began or time.perf_counter()
        await asyncio.sleep(self.work[number])
        self.order[key].append(number)
        self.done += 1
        if self.done == self.messages:
            self.ended = time.perf_counter()
            self.over.set()

    @property
    def seconds(self) -> float:
        """Seconds from the start of the first message to the end of the last one.

        Raises:
            Failed: the records of a key did not end in their order.
        """
        if any(numbers != sorted(numbers) for numbers in self.order.values()):
            raise Failed("the order of a key was not kept")
        return self.ended - self.began


def _handling(messages: int) -> Handling:
    source = random.Random(_SEED)  # noqa: S311  the same work each time
    return Handling(messages, [source.uniform(0.0, LONGEST_S) for _ in range(messages)])


async def scheduler_s(messages: int, keys: int, workers: int) -> float:
    """Measure the partition alone."""
    handling = _handling(messages)

    async def deliver(record: ConsumerRecord[bytes, bytes]) -> None:
        await handling.handle(str(record.key), record.offset)

    partition = Partition(TopicPartition(_TOPIC, 0), deliver, workers)
    partition.take([_record(number, b"%d" % (number % keys)) for number in range(messages)])
    async with asyncio.timeout(_LIMIT_S):
        await handling.over.wait()
    await partition.close()
    return handling.seconds


async def sequential_s(messages: int) -> float:
    """Measure the same work in a loop, one message after the other."""
    handling = _handling(messages)
    for number in range(messages):
        await handling.handle("", number)
    return handling.seconds


async def consumer_s(brokers: str, messages: int, keys: int, workers: int) -> float:
    """Measure a whole consumer, whose handler gets the parsed message."""
    topic = f"{_TOPIC}.{messages}.{keys}.{workers}"
    async with AIOKafkaProducer(bootstrap_servers=brokers) as producer:
        sent = [
            await producer.send(topic, encode(_message(number, keys)), b"%d" % (number % keys))
            for number in range(messages)
        ]
        for future in sent:
            await future
    handling = _handling(messages)

    async def handle(message: Message) -> None:
        await handling.handle(message.order_id, message.sequence)

    settings = ConsumerSettings(max_concurrency=workers, fetch_max_wait=0.02, poll_timeout=0.02)
    async with Consumer(brokers, topic, [topic], handle, settings=settings), asyncio.timeout(_LIMIT_S):
        await handling.over.wait()
    return handling.seconds


def _message(number: int, keys: int) -> Message:
    return SagaStarted(saga_id=f"saga-{number % keys}", order_id=f"order-{number % keys}", sequence=number)


def _record(offset: int, key: bytes) -> ConsumerRecord[bytes, bytes]:
    fields: dict[str, Any] = dict.fromkeys(
        ("timestamp", "timestamp_type", "checksum", "serialized_key_size", "serialized_value_size"), 0
    )
    return ConsumerRecord(topic=_TOPIC, partition=0, offset=offset, key=key, value=b"", headers=(), **fields)


async def measure(brokers: str, messages: int, keys: int) -> dict[str, float]:
    """Return the seconds of each measurement, by name."""
    one_key = max(messages // 10, 1)
    return {
        "scheduler": await scheduler_s(messages, keys, keys),
        "consumer": await consumer_s(brokers, messages, keys, keys),
        "one_key": await scheduler_s(one_key, 1, keys),
        "one_key_sequential": await sequential_s(one_key),
    }


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks keys",
        description=f"{(__doc__ or '').splitlines()[0]} Needs the embedded broker (the extra demo), or --brokers.",
    )
    parser.add_argument("--messages", type=int, default=10_000, metavar="N", help="messages (10000)")
    parser.add_argument("--keys", type=int, default=100, metavar="N", help="keys, and workers a partition (100)")
    parser.add_argument(
        "--brokers", metavar="HOST:PORT", help="a broker that creates topics on first use, with 4 partitions"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args(arguments)
    try:
        if options.brokers:
            found = asyncio.run(measure(options.brokers, options.messages, options.keys))
        else:
            with processes.broker() as brokers:
                found = asyncio.run(measure(brokers, options.messages, options.keys))
    except (Failed, MessagingError, TimeoutError) as error:
        print(f"benchmarks: {error}" if str(error) else f"benchmarks: not over after {_LIMIT_S:.0f} s", file=sys.stderr)
        return 1
    about = machine.describe(machine.Cores())
    if options.json is not None:
        options.json.write_text(json.dumps({"seconds": found, "machine": about}, indent=2) + "\n")
    work = sum(_handling(options.messages).work)
    print(f"{about['cpu']}, {about['cores']} cores")
    print(f"{options.messages} messages, {work:.1f} s of work, {options.keys} keys")
    print(f"the scheduler of a partition  {found['scheduler']:6.2f} s")
    print(f"a consumer on a broker        {found['consumer']:6.2f} s")
    print(f"a tenth of them, one key only {found['one_key']:6.2f} s")
    print(f"the same in a plain loop      {found['one_key_sequential']:6.2f} s")
    return 0
