"""The demo: real processes, five orders, and the proof that each saga is one connected trace."""

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
from services.cli.forward import Forward
from services.cli.play import Played, Player
from services.cli.progress import Progress
from services.cli.receiver import Receiver
from services.cli.report import Account
from services.cli.scenarios import SCENARIOS
from services.cli.settings import DemoSettings
from services.cli.stack import Stack, take_port
from services.cli.traces.recording import Recording

TRACES_S = 10.0
"""How long the last spans may take to arrive after the last saga has ended, in seconds."""

_INTERVAL_S = 0.1


def run(output: Path, port: int | None) -> bool:
    """Play the scenarios, show and write what came of them, and tell whether all are as they should be.

    Args:
        output: The folder to write to; it is made if it is not there.
        port: The order API's port; a free one if it is None.

    Raises:
        CannotRun: a part is missing, taken, or does not come up; nothing runs any more.
    """
    settings = DemoSettings.read()
    port = take_port(port)
    logs = _folder(output / "logs")
    with _alone(output):
        return _run_alone(settings, output, port, logs)


def _run_alone(settings: DemoSettings, output: Path, port: int, logs: Path) -> bool:
    console = Console(highlight=False)
    recording = Recording()
    with _terminated_like_interrupted(), Progress(console) as progress:
        accounts = _play(settings, port, logs, recording, progress)
    report.write(output, accounts, recording)
    report.show(console, accounts)
    for name in ("traces.json", "trace.html", "report.json", "logs"):
        console.print(f"{output / name}", soft_wrap=True)
    return all(account.is_whole for account in accounts)


def _play(
    settings: DemoSettings,
    port: int,
    logs: Path,
    recording: Recording,
    progress: Progress,
) -> list[Account]:
    """Start everything, play, wait for the traces, end everything."""
    with ExitStack() as opened:
        scratch = opened.enter_context(_scratch())
        forward = settings.otlp_endpoint and opened.enter_context(Forward(settings.otlp_endpoint, settings.headers()))
        receiver = opened.enter_context(Receiver(recording, forward=forward or None))
        children = opened.enter_context(Children(logs))
        api = Stack(settings, children, scratch, receiver.endpoint, progress).start(port)
        played = Player(api, progress, children.check).play(SCENARIOS)
        progress.tell("traces", "waiting for the last spans")
        accounts = await_traces(played, recording, TRACES_S)
        progress.tell("traces", "checked", done=True)
    if forward and forward.failures:
        print(f"sagatrace: {forward.failures} exports did not arrive at {settings.otlp_endpoint}", file=sys.stderr)
    return accounts


def await_traces(played: Sequence[Played], recording: Recording, timeout_s: float) -> list[Account]:
    """Check all traces until each is whole, or the time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        accounts = [report.account_of(one, recording) for one in played]
        if time.monotonic() > deadline or not any(account.findings for account in accounts):
            return accounts
        time.sleep(_INTERVAL_S)


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotRun(f"{path} can't be written to ({error.strerror}): name another folder with --output") from error
    return path


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Keep a second demo out of the folder: each reads from its logs what the other's processes say."""
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
        raise CannotRun(f"another demo writes to {output}: name another folder with --output") from None


@contextmanager
def _scratch() -> Iterator[Path]:
    """Make a folder for the databases, and remove it; the services do that too, should this process be killed."""
    folder = Path(tempfile.mkdtemp(prefix="sagatrace-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """End on SIGTERM as on Ctrl-C: every child first. A shell that starts it in the background has SIGINT ignored."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
