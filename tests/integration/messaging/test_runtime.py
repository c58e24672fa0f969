"""The life of a service process: it starts, drains at a signal, and dies with any of its parts."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.runs.slowness import is_within

QUIET = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
SLOW_S = 200.0


class Service:
    """A running service process, whose log is read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.log: list[dict[str, Any]] = []

    def read_until(self, event: str) -> None:
        """Read the log up to an event."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log.append(json.loads(line))
            if self.log[-1]["event"] == event:
                return
        raise AssertionError(f"no {event} in {self.log}")

    def signal(self, number: signal.Signals) -> float:
        """Send a signal, and tell when."""
        self.process.send_signal(number)
        return time.monotonic()

    def end(self) -> int:
        """Read the rest of the log, and give the exit code."""
        assert self.process.stdout is not None
        self.log.extend(json.loads(line) for line in self.process.stdout)
        return self.process.wait(SLOW_S)

    def events(self) -> list[str]:
        """Return the events of the log in order, with the name of what was stopped."""
        return [" ".join(filter(None, (line["event"], line.get("name")))) for line in self.log]


@contextmanager
def service(mode: str, **environment: str) -> Iterator[Service]:
    """Run a service process; it is killed if the test leaves it."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.support.small_service", mode],
        env=os.environ | QUIET | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Service(process)
    finally:
        process.kill()
        process.communicate(timeout=SLOW_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_parts_in_order(number: signal.Signals) -> None:
    """A service that is told to stop does so part by part, closes what it opened, and ends well."""
    with service("good") as running:
        running.read_until("service.ready")
        running.signal(number)
        assert running.end() == 0
    assert running.events()[1:] == ["stopping first", "stopping second", "closed", "service.stopped"]
    assert {line["service"] for line in running.log} == {"small"}


def test_what_was_loaded_is_not_walked_again() -> None:
    """Once a service is ready, the garbage collector passes over its modules: some hundred thousand objects."""
    with service("good") as running:
        running.read_until("service.ready")
        running.signal(signal.SIGTERM)
        running.read_until("stopping")
        assert running.log[-1]["frozen"] > 50_000


@pytest.mark.parametrize(("mode", "cause"), [("dies", "LookupError"), ("ends", "RuntimeError: Idle ended although")])
def test_a_dead_part_stops_the_process(mode: str, cause: str) -> None:
    """A part that fails, or ends unasked, stops the others and the process ends with the cause."""
    with service(mode) as running:
        assert running.end() == 1
        assert running.process.stderr is not None
        assert cause in running.process.stderr.read()
    assert "stopping first" in running.events()


def test_a_second_signal_forces_the_end() -> None:
    """A service whose stop hangs ends at once when it is told again."""
    with service("hangs", SAGATRACE_STOP_BUDGET="60") as running:
        running.read_until("service.ready")
        running.signal(signal.SIGTERM)
        running.read_until("stopping")
        again = running.signal(signal.SIGTERM)
        assert running.end() == 130
        assert is_within(time.monotonic() - again, 5)


def test_a_stop_has_a_budget() -> None:
    """A part that does not stop is cancelled when the budget is used up, and those after it too."""
    with service("hangs", SAGATRACE_STOP_BUDGET="0.2") as running:
        running.read_until("service.ready")
        asked = running.signal(signal.SIGTERM)
        assert running.end() == 0
        assert is_within(time.monotonic() - asked, 5)
    assert running.events()[-2:] == ["closed", "service.stopped"]
    assert "service.stop_timeout" in running.events()


def test_a_service_that_still_joins_can_be_stopped() -> None:
    """A signal ends a service whose broker accepts connections and never answers; it was never ready."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with service("consumes", BROKERS=address) as running:
            silent.settimeout(SLOW_S)
            connection, _ = silent.accept()
            asked = running.signal(signal.SIGTERM)
            assert running.end() == 0
            connection.close()
            assert is_within(time.monotonic() - asked, 15)
    assert "service.ready" not in running.events()
    assert running.events()[-1] == "service.stopped"


def test_a_service_that_still_opens_can_be_stopped() -> None:
    """A signal ends a service that waits for what it needs: a database, a broker."""
    with service("opens") as running:
        running.read_until("opening")
        asked = running.signal(signal.SIGTERM)
        assert running.end() == 0
        assert is_within(time.monotonic() - asked, 5)
    assert running.events()[-1] == "service.stopped"


def test_the_last_spans_are_exported() -> None:
    """Spans that wait for the next export are sent when a signal ends the service, and not later than that."""
    received: queue.Queue[bytes] = queue.Queue()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        settings = {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "600000",
        }
        with service("traces", **settings) as running:
            running.read_until("service.ready")
            assert received.empty()
            running.signal(signal.SIGTERM)
            assert running.end() == 0
        collector.shutdown()
    assert b"the last span" in received.get_nowait()


def test_no_broker_is_said_in_one_line() -> None:
    """A service without a broker ends, and the error names the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with service("consumes", BROKERS=address) as running:
        assert running.end() == 1
        assert running.process.stderr is not None
        assert f"KAFKA_BOOTSTRAP_SERVERS={address}" in running.process.stderr.read()
