"""A back end that takes nothing: the program that is traced waits for it nowhere, and its memory has a bound."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runs.sizes import thorough
from tests.runs.slowness import is_within
from tests.support.bad_backends import BAD_BACKENDS
from tests.support.sources import ROOT

# What an export may take before it is given up, in seconds: longer than everything that a test waits for.
_EXPORT_S = 100
_WORK_S = 500
_QUEUE = 2000
_FLUSH_S = 1.0
_MIB = 2**20
# More spans than the queue, and the journal, take, and as many again: about 25 MiB.
_PROGRAM = f"""
import gc, json, os, resource, sys, time
import tracing
from opentelemetry import trace
from tracing.provider import dropped_spans

def work():
    for number in range(20_000):
        with tracing.bind(**{{"saga.id": f"saga-{{number}}"}}), tracer.start_as_current_span("work") as span:
            span.set_attribute("large", f"{{number:1000}}")

def rss():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

tracing.configure("worker")
tracer = trace.get_tracer("test")
work()
before = rss()
work()
grown, dropped, began = rss() - before, dropped_spans(), time.monotonic()
tracing.shutdown(timeout_s={_FLUSH_S})
print(json.dumps({{"grown": grown, "dropped": dropped, "shutdown_s": time.monotonic() - began}}))
sys.stdout.flush()
"""


def run(endpoint: str, journal: str, protocol: str) -> dict[str, Any]:
    """Run the program towards a back end, to its end."""
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_TIMEOUT": str(_EXPORT_S),
        "OTEL_BSP_EXPORT_TIMEOUT": str(_EXPORT_S * 1000),
        "OTEL_BSP_MAX_QUEUE_SIZE": str(_QUEUE),
        "OTEL_METRICS_EXPORTER": "none",
        "SAGATRACE_JOURNAL_DIR": journal,
    }
    command = [sys.executable, "-c", _PROGRAM]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=_WORK_S, check=False
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
@pytest.mark.parametrize(
    ("kind", "protocol"),
    [
        ("silent", "http/protobuf"),
        ("away", "grpc"),
        pytest.param("away", "http/protobuf", marks=thorough),
        pytest.param("slow", "http/protobuf", marks=thorough),
        pytest.param("refusing", "http/protobuf", marks=thorough),
        pytest.param("silent", "grpc", marks=thorough),
    ],
)
def test_nobody_waits_for_a_back_end(kind: str, protocol: str) -> None:
    """Spans end without waiting for an export, those that there is no room for are counted, and a shutdown gives up."""
    with BAD_BACKENDS[kind]() as endpoint:
        told = run(endpoint, "none", protocol)
    assert told["grown"] < 8 * _MIB, told
    assert told["dropped"] > 0, told
    assert is_within(told["shutdown_s"], _FLUSH_S + 3), told


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
def test_a_journal_is_bounded_too(tmp_path: Path) -> None:
    """With a journal, what a silent back end has not taken fills neither memory nor disk."""
    with BAD_BACKENDS["silent"]() as endpoint:
        told = run(endpoint, str(tmp_path), "http/protobuf")
    assert told["grown"] < 12 * _MIB, told
    assert is_within(told["shutdown_s"], _FLUSH_S + 3), told
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) <= 32 * _MIB
