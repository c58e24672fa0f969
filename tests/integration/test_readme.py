"""The README's examples run as they stand there."""

import re
from pathlib import Path

import pytest

from tests.support.broker import Broker, create_topics
from tests.support.examples import run_example

README = Path(__file__).parents[2] / "README.md"
QUIET = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "SAGATRACE_PROCESS_SPANS": ""}

# What a reader adds to the second example: its clients, and an order that is in a trace.
AROUND_BILL = """
import asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

async def main():
    async with AIOKafkaProducer(bootstrap_servers=BROKERS) as producer:
        await producer.send_and_wait("orders", b"{}", headers=[("traceparent", TRACEPARENT)])
        for topic in ("orders", "invoices"):
            await producer.partitions_for(topic)
        settings = {"bootstrap_servers": BROKERS, "auto_offset_reset": "earliest"}
        orders, invoices = (AIOKafkaConsumer(topic, **settings) for topic in ("orders", "invoices"))
        async with orders, invoices:
            billing = asyncio.create_task(bill(orders, producer))
            invoice = await asyncio.wait_for(invoices.getone(), 200)
            billing.cancel()
    print(dict(invoice.headers)["traceparent"].decode())

asyncio.run(main())
"""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def examples() -> list[str]:
    """Return the README's Python blocks, in order."""
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def run(program: str, broker: Broker) -> str:
    """Run a program in a process of its own, against the broker, and return what it prints."""
    program = program.replace('BROKERS = "localhost:9092"', f'BROKERS = "{broker}"')
    output, complaints = run_example(program, QUIET)
    assert not complaints, complaints
    return output


def test_an_event_is_published_and_consumed(broker: Broker, topic: str) -> None:
    """The first example publishes an event and its handler prints it; a topic of its own has no other."""
    program = examples()[0].replace("oms.saga.events", topic).replace("my-group", topic)
    assert run(program, broker).endswith("saga.started o-1\n")


def test_what_a_loop_sends_is_in_its_messages_trace(broker: Broker, topic: str) -> None:
    """The second example's invoice is in the order's trace."""
    names = f'BROKERS = "{broker}"\nTRACEPARENT = b"00-{TRACE}-00f067aa0ba902b7-01"\n'
    program = f"{names}{examples()[1]}{AROUND_BILL}"
    for name in ("orders", "invoices"):
        create_topics(broker, f"{topic}.{name}")
        program = program.replace(f'"{name}"', f'"{topic}.{name}"')
    assert TRACE in run(program, broker)


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
