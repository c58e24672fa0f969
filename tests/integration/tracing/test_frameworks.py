"""The programs of docs/frameworks.md, unchanged, under `opentelemetry-instrument`: one trace over two hops."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from tests.support.broker import Broker
from tests.support.eventually import eventually
from tests.support.receiver import Receiver, http_receiver
from tests.support.sources import ROOT

PAGE = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
NAMES = [
    "loop",
    "timeout",
    "tasks",
    "batches",
    "transaction",
    "faststream",
    "faststream-workers",
    "faststream-batch",
    "faststream-telemetry",
    "fastapi",
]
#: FastStream's middleware names its process spans otherwise.
PROCESS = {"faststream-telemetry": "{} process"}
#: The records of a batch have the context of their `create` spans.
SENT = {"faststream-batch": "create {}"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
#: The kind of a process span, in OTLP.
CONSUMER = 5
LAUNCHER = str(Path(sys.executable).with_name("opentelemetry-instrument"))

pytestmark = pytest.mark.brokers("embedded")


@contextmanager
def running(program: str, receiver: Receiver) -> Iterator[None]:
    """Run a program, and end it."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "SAGATRACE_PROCESS_SPANS"},
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.address,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    command = [LAUNCHER, sys.executable, "-c", program]
    child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        child.kill()
        _, errors = child.communicate(timeout=300)
        assert "Traceback" not in errors, errors


def lineage(spans: Sequence[Any], name: str) -> list[Any]:
    """Return the spans from the order's own trace down to the one of a name, each the parent of the next."""
    by_id = {span.span_id: span for span in spans}
    (span,) = [span for span in spans if span.name == name]
    found = [span]
    while span := by_id.get(span.parent_span_id):
        found.append(span)
    assert found[-1].parent_span_id.hex() == SPAN
    assert {each.trace_id.hex() for each in found} == {TRACE}
    return found[::-1]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("name", "program"), [*zip(NAMES, PROGRAMS, strict=True)], ids=NAMES)
async def test_a_program_that_was_not_changed_keeps_one_trace(
    name: str, program: str, broker: Broker, topic: str
) -> None:
    """What it sends for a message is in the message's trace, and so is what a second one sends for that."""
    # The embedded broker keeps the checksum of a transaction's batch, but not the batch as it was.
    program = program.replace('"read_committed"', '"read_committed", check_crcs=False')
    program = program.replace('"localhost:9092"', f'"{broker}"')
    orders, invoices, receipts = (f"{topic}.{kind}" for kind in ("orders", "invoices", "receipts"))
    first = program.replace('"orders"', f'"{orders}"').replace('"invoices"', f'"{invoices}"')
    second = program.replace('"orders"', f'"{invoices}"').replace('"invoices"', f'"{receipts}"')
    process = PROCESS.get(name, "process {}")
    with http_receiver() as receiver, ExitStack() as programs:
        async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
            for each in (orders, invoices, receipts):  # the broker makes a topic when it is asked for
                await producer.partitions_for(each)
            headers = [("traceparent", f"00-{TRACE}-{SPAN}-01".encode())]
            await producer.send_and_wait(orders, b"an order", b"o-1", headers=headers)
        for number, each in enumerate((first, second)):
            programs.enter_context(running(each.replace('"billing"', f'"{topic}-{number}"'), receiver))
        await eventually(lambda: f"send {receipts}" in receiver.names, 60)
        await asyncio.to_thread(programs.close)
    chain = [
        process.format(orders),
        SENT.get(name, "send {}").format(invoices),
        process.format(invoices),
        f"send {receipts}",
    ]
    assert [span.name for span in lineage(receiver.spans, f"send {receipts}") if span.name in chain] == chain
    assert [receiver.names.count(span) for span in chain] == [1, 1, 1, 1]
    assert len({span.span_id for span in receiver.spans if span.kind == CONSUMER}) == 2
