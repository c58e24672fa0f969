"""A program that configures tracing, exports, and then forks, as gunicorn does with --preload."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.receiver import grpc_receiver, http_receiver
from tests.support.sources import ROOT

_WORKERS = 3
_SPANS = 60
_PROGRAM = f"""
import asyncio, json, os, sys
import tracing
from opentelemetry import metrics, trace

async def work(who):
    for number in range({_SPANS}):
        tracer.start_span(f"{{who}} {{number}}", attributes={{"payload": "x" * 5000}}).end()
        counter.add(1)
        await asyncio.sleep(0.001)

tracing.configure("forking")
tracer, counter = trace.get_tracer("test"), metrics.get_meter("test").create_counter("work")
tracer.start_span("before 0").end()
counter.add(1)
trace.get_tracer_provider().force_flush()
if hasattr(metrics.get_meter_provider(), "force_flush"):
    metrics.get_meter_provider().force_flush()
for number in range(1, {_SPANS}):  # they are being exported while the process forks
    tracer.start_span(f"before {{number}}").end()
workers = []
for number in range({_WORKERS}):
    pid = os.fork()
    if pid == 0:
        asyncio.run(work(f"worker-{{number}}"))
        tracing.shutdown(5)
        sys.stdout.flush()
        os._exit(0)
    workers.append(pid)
asyncio.run(work("parent"))
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers]
print(json.dumps([codes, tracing.shutdown(10)]))
"""


def run(endpoint: str, **variables: str) -> tuple[list[Any], str]:
    """Run the program to its end; return the workers' exit codes with what the shutdown said, and its stderr."""
    environment: Mapping[str, str] = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "20",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
        "OTEL_METRICS_EXPORTER": "none",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _PROGRAM],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def expected(*who: str) -> list[str]:
    """Return the names of all spans of these processes."""
    return sorted(f"{name} {number}" for name in ("before", *who) for number in range(_SPANS))


EVERYBODY = ("parent", *(f"worker-{number}" for number in range(_WORKERS)))


@pytest.mark.parametrize("export", ["encoded", "official", "journal"])
def test_each_process_has_a_connection_of_its_own_over_http(export: str, tmp_path: Path) -> None:
    """Every span of parent and children arrives once, no request is garbled, and no journal is left."""
    variables = {"SAGATRACE_JOURNAL_DIR": str(tmp_path)} if export == "journal" else {"SAGATRACE_SPAN_EXPORT": export}
    with http_receiver() as receiver:
        codes, errors = run(receiver.address, **variables)
        assert codes == [[0] * _WORKERS, True], errors
        assert sorted(receiver.names) == expected(*EVERYBODY)
        assert receiver.broken == 0
        assert "lost" not in errors
        for names in receiver.by_connection.values():
            assert len({name.split()[0] for name in names} - {"before"}) <= 1
    assert list(tmp_path.rglob("*.journal")) == []


def test_metrics_have_a_connection_of_their_own_too() -> None:
    """The periodic reader of each process sends over its own."""
    with http_receiver() as receiver:
        codes, errors = run(receiver.address, OTEL_METRICS_EXPORTER="otlp", OTEL_METRIC_EXPORT_INTERVAL="50")
        assert codes == [[0] * _WORKERS, True], errors
        assert sorted(receiver.names) == expected(*EVERYBODY)
        assert receiver.broken == 0
        assert len(receiver.metrics_by) >= 1 + _WORKERS


def test_grpc_with_fork_support_has_a_channel_in_each_process() -> None:
    """Where gRPC supports forks, a child makes its own channel and exports, and a fork during a call waits for it."""
    with grpc_receiver() as receiver:
        codes, errors = run(receiver.address, OTEL_EXPORTER_OTLP_PROTOCOL="grpc", GRPC_ENABLE_FORK_SUPPORT="1")
        assert codes == [[0] * _WORKERS, True], errors
        assert sorted(receiver.names) == expected(*EVERYBODY)


def test_grpc_without_fork_support_says_so_in_each_child_and_hangs_nowhere() -> None:
    """The parent exports as ever; a child says in one line what to do, and ends."""
    with grpc_receiver() as receiver:
        codes, errors = run(receiver.address, OTEL_EXPORTER_OTLP_PROTOCOL="grpc", GRPC_ENABLE_FORK_SUPPORT="0")
        assert codes == [[0] * _WORKERS, True], errors
        assert sorted(receiver.names) == expected("parent")
        assert errors.count("GRPC_ENABLE_FORK_SUPPORT=1") == _WORKERS
