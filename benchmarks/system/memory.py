"""Memory over many messages: a traced producer and a traced consumer in one process, with a receiver alive or dead.

Messages are sent and received in windows, so that the number under way is bounded; from time to time the process's
memory and its live objects are read. Flat means that the last quarter of the readings is at the level of the second;
the first fills caches, pools and, with a dead receiver, the bounded queue of spans.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import tracing
from benchmarks import machine, processes
from benchmarks.processes import Failed
from benchmarks.system import cpu
from services.contracts import Message, encode
from services.contracts.events import SagaStarted
from services.messaging import logs
from services.messaging.consumer import Consumer
from services.messaging.producer import Producer
from services.messaging.settings import ConsumerSettings

_TOPIC: Final = "bench.memory"
_WINDOW: Final = 500
_READINGS: Final = 40
#: Seconds for one window.
_LIMIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Reading:
    """The memory of the process after a number of messages."""

    messages: int
    resident_mb: float
    objects: int


class Soak:
    """Sends messages and receives them again."""

    def __init__(self, brokers: str) -> None:
        self._brokers = brokers
        self._back = 0
        self._sent = 0
        self._all_back = asyncio.Event()

    async def run(self, messages: int) -> list[Reading]:
        """Send and receive this number of messages, and return the readings taken on the way."""
        settings = ConsumerSettings(fetch_max_wait=0.02, poll_timeout=0.02)
        every = max(messages // _READINGS, _WINDOW)
        readings: list[Reading] = []
        async with Producer(self._brokers) as producer:
            await self._window(producer)
            async with Consumer(self._brokers, _TOPIC, [_TOPIC], self._handle, settings=settings):
                await self._returned()
                while self._sent < messages:
                    await self._window(producer)
                    await self._returned()
                    if self._sent // every > len(readings):
                        readings.append(self._read())
                        print(f"{self._sent} messages: {readings[-1].resident_mb:.1f} MB", file=sys.stderr, flush=True)
        return readings

    async def _window(self, producer: Producer) -> None:
        self._all_back.clear()
        numbers = range(self._sent, self._sent + _WINDOW)
        self._sent += _WINDOW
        await asyncio.gather(
            *(
                producer.publish(_TOPIC, key=b"%d" % (number % 100), value=encode(_message(number)))
                for number in numbers
            )
        )

    async def _returned(self) -> None:
        async with asyncio.timeout(_LIMIT_S):
            while self._back < self._sent:
                self._all_back.clear()
                await self._all_back.wait()

    async def _handle(self, _: Message) -> None:
        self._back += 1
        if self._back >= self._sent:
            self._all_back.set()

    def _read(self) -> Reading:
        gc.collect()
        return Reading(self._sent, cpu.resident_bytes(os.getpid()) / 1e6, len(gc.get_objects()))


def _message(number: int) -> Message:
    return SagaStarted(saga_id=f"saga-{number}", order_id=f"order-{number % 100}", sequence=1)


def growth(readings: Sequence[Reading]) -> dict[str, float]:
    """Return how far the last quarter of the readings is above the second one, in megabytes and in objects."""
    quarter = max(len(readings) // 4, 1)
    second, last = readings[quarter : 2 * quarter] or readings, readings[-quarter:]
    return {
        "resident_mb": median(each.resident_mb for each in last) - median(each.resident_mb for each in second),
        "objects": median(each.objects for each in last) - median(each.objects for each in second),
    }


def soak(brokers: str, endpoint: str, messages: int) -> list[Reading]:
    """Run the soak in a process of its own, traced to an OTLP endpoint.

    Raises:
        Failed: it ended with an error.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    telemetry = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_METRICS_EXPORTER": "none"}
    command = [sys.executable, "-m", "benchmarks.system.memory", brokers, str(messages)]
    done = subprocess.run(  # noqa: S603  a module of this project
        command, env=inherited | telemetry, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise Failed(f"the soak ended with {done.returncode}")
    return [Reading(**reading) for reading in json.loads(done.stdout.splitlines()[-1])]


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks memory",
        description="Memory over a million messages, traced at 100 %, with the receiver of the spans alive and dead.",
    )
    parser.add_argument("--messages", type=int, default=1_000_000, metavar="N", help="messages (1000000), about 10 min")
    parser.add_argument("--receiver", choices=("alive", "dead", "both"), default="both")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the readings there as well")
    options = parser.parse_args(arguments)
    wanted = ("alive", "dead") if options.receiver == "both" else (options.receiver,)
    found: dict[str, Any] = {}
    try:
        for receiver in wanted:
            print(f"receiver {receiver}", file=sys.stderr, flush=True)
            with processes.broker() as brokers, processes.sink() as sink:
                endpoint = f"{sink}/memory" if receiver == "alive" else f"http://127.0.0.1:{_closed_port()}"
                readings = soak(brokers, endpoint, options.messages)
            found[receiver] = {"growth": growth(readings), "readings": [asdict(reading) for reading in readings]}
    except Failed as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    about = machine.describe(machine.Cores())
    if options.json is not None:
        options.json.write_text(json.dumps({**found, "machine": about}, indent=2) + "\n")
    print(f"{about['cpu']}; {options.messages} messages, each sent and processed; last quarter over the second")
    for receiver, result in found.items():
        last, more = result["readings"][-1], result["growth"]
        print(
            f"receiver {receiver}: {last['resident_mb']:.1f} MB at the end, {more['resident_mb']:+.1f} MB, "
            f"{more['objects']:+.0f} of {last['objects']} objects",
        )
    return 0


def _run(brokers: str, messages: int) -> None:
    logs.configure("memory")
    tracing.configure(service_name="memory")
    tracing.instrument(process_spans="explicit")
    try:
        readings = asyncio.run(Soak(brokers).run(messages))
    finally:
        tracing.uninstrument()
        tracing.shutdown(timeout_s=5.0)
    print(json.dumps([asdict(reading) for reading in readings]))


if __name__ == "__main__":
    _run(sys.argv[1], int(sys.argv[2]))
