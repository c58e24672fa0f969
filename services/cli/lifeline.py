"""Run the command as a child that ends when its parent does: when its standard input ends, it ends.

`python -m services.cli.lifeline FOLDER run oms` is `sagatrace run oms` with a lifeline. Standard library only, so that
the lifeline works before any slow import.

The parent holds the other end of the pipe and never writes. Whatever ends the parent, even kill -9, closes the pipe, on
every system and without polling. SIGTERM asks for an orderly shutdown; when the lifeline is cut, nobody is left to wait
for one, and everything that matters is already in the database.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from contextlib import suppress
from pathlib import Path

CUT = 1
"""The exit code of a process whose lifeline was cut."""


def hold(scratch: Path) -> None:
    """End this process as soon as its standard input ends.

    Args:
        scratch: A folder of this process, removed when it ends; so is the parent folder once it is empty.
    """
    threading.Thread(target=_watch, args=(sys.stdin.fileno(), scratch), name="lifeline", daemon=True).start()


def _watch(pipe: int, scratch: Path) -> None:
    while os.read(pipe, 1024):
        pass
    shutil.rmtree(scratch, ignore_errors=True)
    with suppress(OSError):
        scratch.parent.rmdir()
    os._exit(CUT)


if __name__ == "__main__":
    hold(Path(sys.argv.pop(1)))
    from services.cli.__main__ import main

    main()
