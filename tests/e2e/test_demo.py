"""The demo, as a process: what it shows, what it writes, and that it leaves nothing behind."""

import fcntl
import importlib.util
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.cli.traces.check import check
from services.cli.traces.otlp import parse
from services.contracts.codec import MESSAGE_TYPES
from tests.support import parts
from tests.support.demos import SERVICES, Demo, running_demo
from tests.support.eventually import eventually

pytestmark = pytest.mark.timeout(180)

_OUTCOMES = {
    "completed": "completed",
    "payment_declined": "failed",
    "out_of_stock": "failed",
    "canceled": "canceled",
    "refunded": "refunded",
}
_TIME = r"\d[\d.]* \w+"
_STORIES = {
    "completed": rf"completed in {_TIME}",
    "payment_declined": rf"declined by payment after {_TIME}; stock released( after {_TIME})?",
    "out_of_stock": rf"rejected by inventory \(out of stock\) after {_TIME}",
    "canceled": rf"canceled by request after {_TIME}; stock released( after {_TIME})?",
    "refunded": rf"completed in {_TIME}, refunded {_TIME} later; charge refunded, stock released",
}
_WAITED = rf"; {_TIME} waiting in (Kafka|the outbox)(, {_TIME} in the outbox)?(; .*)?"
_END_S = 2.0
_READY_S = 100.0
_PROCESSES_CAN_BE_SEEN = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


@pytest.fixture(autouse=True)
def _needs_the_broker(request: pytest.FixtureRequest) -> None:
    if importlib.util.find_spec("confluent_kafka") is None:
        parts.missing(request.config, parts.BROKER, "install the extra: pip install 'sagatrace-services[demo]'")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Demo, str, str]]:
    """A demo that ran to its end, and what it printed."""
    with running_demo(tmp_path_factory.mktemp("demo")) as demo:
        out, err = demo.process.communicate(timeout=1500)
        yield demo, out, err


def _report(demo: Demo) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((demo.output / "report.json").read_text())
    return report


def test_every_saga_ends_as_told_and_is_one_trace(finished: tuple[Demo, str, str]) -> None:
    """The five scenarios have their outcomes, each one trace, and the exit code says so."""
    demo, out, err = finished
    assert (demo.process.returncode, err) == (0, "")
    table = re.findall(r"^(\w+) +(\w+) +(\d+) +(yes|no) *$", out, flags=re.MULTILINE)
    assert {name: (outcome, one) for name, outcome, _, one in table} == {
        name: (outcome, "yes") for name, outcome in _OUTCOMES.items()
    }
    orders = _report(demo)["orders"]
    assert [(order["scenario"], order["outcome"]) for order in orders] == list(_OUTCOMES.items())
    assert [str(order["spans"]) for order in orders] == [spans for _, _, spans, _ in table]
    assert len({order["trace_id"] for order in orders}) == len(_OUTCOMES)


def test_the_waterfalls_show_services_errors_and_compensation(finished: tuple[Demo, str, str]) -> None:
    """Each trace is printed with all services that took part, failures and compensations marked."""
    _, out, _ = finished
    assert out.count("POST /orders ") == len(_OUTCOMES)
    assert out.count("✗ saga order failed: ") == 2
    assert out.count("✗ process payment.charge: payment.declined") == 1
    assert out.count("✗ process inventory.reserve: inventory.rejected") == 1
    assert out.count("↩ process inventory.release") == 3
    assert out.count("↩ process payment.refund") == 1
    assert all(re.search(rf"^{service} ", out, flags=re.MULTILINE) for service in SERVICES)


def test_each_trace_is_told_in_one_line(finished: tuple[Demo, str, str]) -> None:
    """The same line about each order is printed, in the report and, as a sentence, on the page."""
    demo, out, _ = finished
    page = (demo.output / "trace.html").read_text()
    for order in _report(demo)["orders"]:
        assert re.fullmatch(_STORIES[order["scenario"]] + _WAITED, order["story"]), order["story"]
        assert order["story"] in out.splitlines()
        assert order["story"][1:] in page
        waited_ms = order["numbers"]["kafka_wait_ms"] + order["numbers"]["outbox_wait_ms"]
        rounding_ms = 3
        assert 0 < waited_ms <= order["numbers"]["took_ms"] + (order["numbers"]["refund_ms"] or 0) + rounding_ms


def test_the_written_traces_pass_the_check(finished: tuple[Demo, str, str]) -> None:
    """`traces.json` can be read back, and each saga in it is one trace."""
    demo, _, _ = finished
    spans = parse(json.loads((demo.output / "traces.json").read_text()))
    for order in _report(demo)["orders"]:
        assert check(spans, saga_id=order["saga_id"], trace_id=order["trace_id"]) == []
    assert {span.service for span in spans} == SERVICES


def test_every_name_is_one_of_few(finished: tuple[Demo, str, str]) -> None:
    """A span is named by what happens, a message by its type; no name has a topic, an address or an id."""
    demo, _, _ = finished
    spans = parse(json.loads((demo.output / "traces.json").read_text()))
    messages = {f"{operation} {kind}" for operation in ("send", "process") for kind in MESSAGE_TYPES}
    assert {span.name for span in spans} - messages == {
        "POST /orders",
        "POST /orders/{order_id}/cancel",
        "POST /orders/{order_id}/refund",
        "request cancel",
        "request refund",
        "saga order completed",
        "saga order canceled",
        "saga order failed: declined",
        "saga order failed: out_of_stock",
        "refund order completed",
    }


def test_the_page_shows_every_trace(finished: tuple[Demo, str, str]) -> None:
    """`trace.html` has all five sagas by their trace ids."""
    demo, _, _ = finished
    page = (demo.output / "trace.html").read_text()
    assert all(order["trace_id"] in page for order in _report(demo)["orders"])


def test_the_paths_are_printed_last(finished: tuple[Demo, str, str]) -> None:
    """The last lines are the paths of what was written."""
    demo, out, _ = finished
    last = [Path(line) for line in out.splitlines()[-4:]]
    assert [path.name for path in last] == ["traces.json", "trace.html", "report.json", "logs"]
    assert all(path.exists() for path in last)
    assert demo.output == last[0].parent


def test_nothing_is_left_behind(finished: tuple[Demo, str, str]) -> None:
    """After the demo no child runs, and its temporary folder is gone."""
    demo, _, _ = finished
    assert demo.children() == set()
    assert list(demo.scratch.iterdir()) == []


@_PROCESSES_CAN_BE_SEEN
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_every_child_ends_with_the_demo(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and kill -9 of the demo each end all of its processes within 2 seconds, and nothing is left."""
    with running_demo(tmp_path) as demo:
        await eventually(demo.is_ready, timeout_s=_READY_S)
        assert len(demo.children()) == len(SERVICES) + 1
        await _end(demo, number)
        assert list(demo.scratch.iterdir()) == []


@_PROCESSES_CAN_BE_SEEN
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_demo_that_is_ended_while_it_starts_leaves_no_child(tmp_path: Path, number: signal.Signals) -> None:
    """Children that are still importing end with the demo too."""
    with running_demo(tmp_path) as demo:
        await eventually(lambda: len(demo.children()) == len(SERVICES) + 1, timeout_s=_READY_S)
        await _end(demo, number)


async def _end(demo: Demo, number: signal.Signals) -> None:
    """Send a signal to the demo, and check that all its children end within the bound."""
    demo.process.send_signal(number)
    await eventually(lambda: not demo.children(), timeout_s=_END_S)
    demo.process.communicate(timeout=100)
    assert demo.process.returncode == (-signal.SIGKILL if number is signal.SIGKILL else 130)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """A port that is in use is one line that says what to do, and nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running_demo(tmp_path, "--port", str(port)) as demo:
            out, err = demo.process.communicate(timeout=300)
    (line,) = err.splitlines()
    assert (demo.process.returncode, out) == (2, "")
    assert f"port {port} " in line
    assert "--port" in line


def test_a_second_demo_keeps_out_of_the_folder(tmp_path: Path) -> None:
    """A folder that another demo writes to is one line that names the option, and exit code 2."""
    output = tmp_path / "out"
    output.mkdir()
    folder = os.open(output, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with running_demo(tmp_path) as demo:
        _, err = demo.process.communicate(timeout=600)
    os.close(folder)
    assert demo.process.returncode == 2
    assert err.count("\n") == 1
    assert "--output" in err


def test_a_service_that_dies_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a service cannot start, one line names it, says why, and where its log is."""
    monkeypatch.setenv("SAGATRACE_STOCK_QUANTITY", "many")
    with running_demo(tmp_path) as demo:
        _, err = demo.process.communicate(timeout=1500)
    (line,) = err.splitlines()
    assert demo.process.returncode == 2
    assert "inventory" in line
    assert "SAGATRACE_STOCK_QUANTITY" in line
    assert str(demo.output / "logs" / "inventory.log") in line
    assert demo.children() == set()
