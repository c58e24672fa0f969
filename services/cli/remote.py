"""The demo on a system that already runs: five orders over HTTP, and each trace checked in Jaeger."""

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
from services.cli.play import Played, Player
from services.cli.progress import Progress
from services.cli.report import Account
from services.cli.scenarios import SCENARIOS
from services.cli.traces.recording import Recording
from services.oms.settings import ApiSettings

READY_S = 60.0
TRACES_S = 60.0
"""How long the collector's queue and Jaeger may take after the last saga has ended, in seconds."""

_INTERVAL_S = 0.5


def run(output: Path, api: str, jaeger: str, pages: Sequence[str] = ()) -> bool:
    """Play the scenarios, show what came of them and where Jaeger shows it, and tell whether all are as they should be.

    Args:
        output: The folder to write to; it is made if it is not there.
        api: The order API's address.
        jaeger: Jaeger's query address.
        pages: `NAME=URL`, to be printed last; that of `Jaeger` is where the links to the traces go.

    Raises:
        CannotRun: the API or Jaeger does not answer.
    """
    console, traces = Console(highlight=False), Jaeger(jaeger)
    addresses = dict(page.split("=", 1) for page in pages if "=" in page)
    links = Jaeger(addresses.get("Jaeger", jaeger))
    output.mkdir(parents=True, exist_ok=True)
    with Progress(console) as progress:
        orders = _ready(api, progress)
        played = Player(orders, progress, lambda: None).play(SCENARIOS)
        progress.tell("traces", "waiting for the last spans")
        accounts, recording = _await_traces(played, traces)
        progress.tell("traces", "checked", done=True)
    report.write(output, accounts, recording)
    report.show(console, accounts)
    for account in accounts:
        if account.played.placed:
            page = links.page(account.played.placed.trace_id)
            console.print(f"{account.played.scenario.name:<18} {page}", soft_wrap=True)
    for name, address in addresses.items():
        console.print(f"{name:<18} {address}", soft_wrap=True)
    return all(account.is_whole for account in accounts)


def _ready(api: str, progress: Progress) -> OrderApi:
    address = urlsplit(api)
    if address.scheme != "http" or not address.hostname:
        raise CannotRun(f"--api takes a URL such as http://localhost:8000, not {api!r}")
    orders = OrderApi(address.hostname, address.port or 80, ApiSettings.read().token)
    progress.tell("order API", f"waiting for {api}")
    deadline = time.monotonic() + READY_S
    while not orders.is_ready():
        if time.monotonic() > deadline:
            raise CannotRun(f"no order API is ready at {api} within {READY_S:.0f} s: see --api")
        time.sleep(_INTERVAL_S)
    progress.tell("order API", "ready", done=True)
    return orders


def _await_traces(played: Sequence[Played], jaeger: Jaeger) -> tuple[list[Account], Recording]:
    """Read all traces until each is whole, or the time is over."""
    deadline = time.monotonic() + TRACES_S
    while True:
        recording = Recording()
        for one in played:
            if one.placed and one.placed.trace_id:
                recording.add(jaeger.document(one.placed.trace_id))
        accounts = [report.account_of(one, recording) for one in played]
        if time.monotonic() > deadline or not any(account.findings for account in accounts):
            return accounts, recording
        time.sleep(_INTERVAL_S)
