"""The demo on a running system: place five orders over HTTP, and check each trace in Jaeger."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from services.cli import report
from services.cli.errors import CannotRun
from services.cli.jaeger import Jaeger
from services.cli.order_api import OrderApi
from services.cli.player import Player, ScenarioResult
from services.cli.progress import Progress
from services.cli.report import ScenarioReport
from services.cli.scenarios import SCENARIOS
from services.cli.settings import JaegerSettings
from services.cli.traces.recording import Recording
from services.oms.settings import ApiSettings

READY_S = 60.0
TRACES_S = 60.0
"""How long the collector's queue and Jaeger may take after the last saga has ended, in seconds."""

_INTERVAL_S = 0.5


def run(output: Path, api: str, jaeger: str, pages: Sequence[str] = ()) -> bool:
    """Run the scenarios, print the results and the traces' addresses in Jaeger, and return whether all passed.

    Args:
        output: The folder to write to; it is created if it is missing.
        api: The order API's address.
        jaeger: Jaeger's query address.
        pages: `NAME=URL`, printed last; the links to the traces lead to the one named `Jaeger`, else to
            SAGATRACE_JAEGER_PAGE, else to `jaeger`.

    Raises:
        CannotRun: the API or Jaeger does not answer.
    """
    console = Console(highlight=False)
    addresses = dict(page.split("=", 1) for page in pages if "=" in page)
    traces = Jaeger(jaeger, addresses.get("Jaeger") or JaegerSettings.read().page)
    output.mkdir(parents=True, exist_ok=True)
    with Progress(console) as progress:
        orders = _await_api(api, progress)
        results = Player(orders, progress, lambda: None).play(SCENARIOS)
        progress.update("traces", "waiting for the last spans")
        reports, recording = _await_traces(results, traces)
        progress.update("traces", "checked", done=True)
    report.write(output, reports, recording, traces.page)
    report.show(console, reports)
    report.show_links(console, reports, traces)
    for name, address in addresses.items():
        console.print(f"{name:<18} {address}", soft_wrap=True)
    return all(one.passed for one in reports)


def _await_api(api: str, progress: Progress) -> OrderApi:
    address = urlsplit(api)
    if address.scheme != "http" or not address.hostname:
        raise CannotRun(f"--api takes a URL such as http://localhost:8000, not {api!r}")
    orders = OrderApi(address.hostname, address.port or 80, ApiSettings.read().token)
    progress.update("order API", f"waiting for {api}")
    deadline = time.monotonic() + READY_S
    while not orders.is_ready():
        if time.monotonic() > deadline:
            raise CannotRun(f"no order API is ready at {api} within {READY_S:.0f} s: see --api")
        time.sleep(_INTERVAL_S)
    progress.update("order API", "ready", done=True)
    return orders


def _await_traces(results: Sequence[ScenarioResult], jaeger: Jaeger) -> tuple[list[ScenarioReport], Recording]:
    """Read all traces until each is complete, or the time is up."""
    deadline = time.monotonic() + TRACES_S
    while True:
        recording = Recording()
        for one in results:
            if one.placed and one.placed.trace_id:
                recording.add(jaeger.document(one.placed.trace_id))
        reports = [report.report_on(one, recording) for one in results]
        if time.monotonic() > deadline or not any(one.findings for one in reports):
            return reports, recording
        time.sleep(_INTERVAL_S)
