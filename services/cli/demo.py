"""The demo: real processes, five orders, and a check that each saga is one connected trace."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from services.cli import report
from services.cli.children import Children
from services.cli.errors import CannotRun
from services.cli.forwarder import Forwarder
from services.cli.jaeger import Jaeger
from services.cli.player import Player, ScenarioResult
from services.cli.progress import Progress
from services.cli.receiver import Receiver
from services.cli.report import ScenarioReport
from services.cli.scenarios import SCENARIOS
from services.cli.settings import DemoSettings, JaegerSettings
from services.cli.stack import Stack, take_port
from services.cli.traces.recording import Recording

TRACES_S = 60.0
"""How long the last spans may take to arrive after the last saga has ended, in seconds; 0.3 on an idle machine."""

_INTERVAL_S = 0.1


def run(output: Path, port: int | None) -> bool:
    """Run the scenarios, print and write the results, and return whether all passed.

    Args:
        output: The folder to write to; it is created if it is missing.
        port: The order API's port; None for a free one.

    Raises:
        CannotRun: something is missing, in use, or does not start; no process is left running.
    """
    settings = DemoSettings.read()
    port = take_port(port)
    logs = _folder(output / "logs")
    with _locked(output):
        return _run_locked(settings, output, port, logs)


def _run_locked(settings: DemoSettings, output: Path, port: int, logs: Path) -> bool:
    console = Console(highlight=False)
    recording = Recording()
    with _interrupt_on_sigterm(), Progress(console) as progress:
        reports = _play(settings, port, logs, recording, progress)
    # Traces are in a Jaeger only if they were forwarded to one.
    page = JaegerSettings.read().page if settings.otlp_endpoint else None
    jaeger = Jaeger(page) if page else None
    report.write(output, reports, recording, jaeger.page if jaeger else None)
    report.show(console, reports)
    if jaeger:
        report.show_links(console, reports, jaeger)
    for name in ("traces.json", "trace.html", "report.json", "logs"):
        console.print(f"{output / name}", soft_wrap=True)
    return all(one.passed for one in reports)


def _play(
    settings: DemoSettings,
    port: int,
    logs: Path,
    recording: Recording,
    progress: Progress,
) -> list[ScenarioReport]:
    """Start everything, run the scenarios, wait for the traces, end everything."""
    with ExitStack() as opened:
        scratch = opened.enter_context(_scratch())
        forwarder = settings.otlp_endpoint and opened.enter_context(
            Forwarder(settings.otlp_endpoint, settings.headers())
        )
        receiver = opened.enter_context(Receiver(recording, forwarder=forwarder or None))
        children = opened.enter_context(Children(logs))
        api = Stack(settings, children, scratch, receiver.endpoint, progress).start(port)
        results = Player(api, progress, children.check).play(SCENARIOS)
        progress.update("traces", "waiting for the last spans")
        reports = await_traces(results, recording, TRACES_S)
        progress.update("traces", "checked", done=True)
    if forwarder and forwarder.failures:
        print(f"sagatrace: {forwarder.failures} exports did not arrive at {settings.otlp_endpoint}", file=sys.stderr)
    return reports


def await_traces(results: Sequence[ScenarioResult], recording: Recording, timeout_s: float) -> list[ScenarioReport]:
    """Check all traces until each is complete, or the time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        reports = [report.report_on(one, recording) for one in results]
        if time.monotonic() > deadline or not any(one.findings for one in reports):
            return reports
        time.sleep(_INTERVAL_S)


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotRun(f"{path} can't be written to ({error.strerror}): name another folder with --output") from error
    return path


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    """Keep a second demo out of the folder: it would read the logs of the first one's processes."""
    folder = os.open(output, os.O_RDONLY)
    try:
        _lock(folder, output)
        yield
    finally:
        os.close(folder)


def _lock(folder: int, output: Path) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotRun(f"another demo is writing to {output}: name another folder with --output") from None


@contextmanager
def _scratch() -> Iterator[Path]:
    """Create a folder for the databases and remove it; if this process is killed, the services remove it."""
    folder = Path(tempfile.mkdtemp(prefix="sagatrace-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _interrupt_on_sigterm() -> Iterator[None]:
    """Handle SIGTERM as Ctrl-C, and SIGINT too, which a shell ignores for a background job."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
