"""The README's examples run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.broker import Broker

README = Path(__file__).parents[2] / "README.md"
QUIET = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}

# What a reader adds to the second example: a message, and a handler that looks at the current span.
AROUND_CONSUME = """
import asyncio
import contextlib
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from opentelemetry import trace

async def handle(record):
    print(trace.get_current_span().name, dict(trace.get_current_span().attributes)["order.id"])
    raise EOFError

async def main():
    producer = AIOKafkaProducer(bootstrap_servers=BROKERS)
    await producer.start()
    await producer.send_and_wait("orders", b"{}", b"o-1")
    await producer.stop()
    consumer = AIOKafkaConsumer("orders", bootstrap_servers=BROKERS, auto_offset_reset="earliest")
    await consumer.start()
    with contextlib.suppress(EOFError):
        await asyncio.wait_for(consume(consumer, handle), 200)
    await consumer.stop()

asyncio.run(main())
"""


def examples() -> list[str]:
    """Return the README's Python blocks, in order."""
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def run(program: str, broker: Broker) -> str:
    """Run a program in a process of its own, against the broker, and give what it prints."""
    program = program.replace('BROKERS = "localhost:9092"', f'BROKERS = "{broker}"')
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=os.environ | QUIET,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.stdout


def test_an_event_is_published_and_consumed(broker: Broker, topic: str) -> None:
    """The first example publishes an event and its handler prints it; a topic of its own has no other."""
    program = examples()[0].replace("oms.saga.events", topic).replace("my-group", topic)
    assert run(program, broker).endswith("saga.started o-1\n")


def test_a_handler_runs_in_its_messages_trace(broker: Broker, topic: str) -> None:
    """The second example's handler runs inside the process span, which carries what was bound."""
    program = f'BROKERS = "{broker}"\n{examples()[1]}{AROUND_CONSUME}'.replace('"orders"', f'"{topic}"')
    assert run(program, broker) == f"process {topic} o-1\n"


PICTURES = re.findall(r'(?:src|srcset)="([^"]+)"', README.read_text(encoding="utf-8"))
LINKS = sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("link", [*LINKS, *PICTURES])
def test_what_the_readme_points_to_is_there(link: str) -> None:
    """Every file and folder that the README links to exists."""
    assert (README.parent / link).exists()


def test_the_readme_is_short() -> None:
    """The README has at most 150 lines."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_the_readmes_pictures_are_light() -> None:
    """There is one for each colour scheme, of at most 200 KB."""
    sizes = [(README.parent / picture).stat().st_size for picture in PICTURES]
    assert len(sizes) == 2
    assert max(sizes) <= 200_000
