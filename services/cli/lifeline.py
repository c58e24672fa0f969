"""A child's tie to whoever started it: when its standard input ends, it ends.

The parent holds the other end of the pipe and never writes. Whatever ends the parent, kill -9 too, closes the pipe, on
every system and without polling.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

GRACE_S = 1.0
"""What a child has for an orderly end after its lifeline was cut."""

_CUT = 1


@contextmanager
def lifeline(scratch: Path) -> Iterator[None]:
    """End this process when standard input ends: asked by SIGTERM, and after `GRACE_S` without asking.

    Args:
        scratch: A folder of this process, removed at its end; its parent too, once that is empty.
    """
    # Until the service has handlers of its own, SIGTERM ends the process in an orderly way as well.
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_watch, args=(scratch,), name="lifeline", daemon=True).start()
    try:
        yield
    finally:
        _remove(scratch)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(_CUT)


def _watch(scratch: Path) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(GRACE_S)
    _remove(scratch)
    os._exit(_CUT)


def _remove(scratch: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    with suppress(OSError):
        scratch.parent.rmdir()
