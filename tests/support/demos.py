"""The demo as a process of its own, with everything that it starts."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SERVICES = frozenset({"oms", "inventory", "payment", "audit", "notification"})


@dataclass
class Demo:
    """A demo that runs or has run; it writes to `output`, and its temporary files are in `scratch`."""

    process: subprocess.Popen[str]
    output: Path
    scratch: Path

    def children(self) -> set[int]:
        """Return the processes of this demo that are alive, without its own: all know its folder."""
        return {pid for pid in processes_that_name(self.scratch) if pid != self.process.pid}

    def is_ready(self) -> bool:
        """Return whether every service has logged that it is ready.

        Raises:
            RuntimeError: the demo has ended instead.
        """
        if self.process.poll() is not None:
            raise RuntimeError(self.process.communicate()[1])
        logs = self.output / "logs"
        return all(
            '"service.ready"' in (logs / f"{name}.log").read_text() if (logs / f"{name}.log").exists() else False
            for name in SERVICES
        )


def processes_that_name(folder: Path) -> set[int]:
    """Return the processes with a folder in their environment, which children of children inherit."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={folder}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
        except OSError:
            continue
    return found


@contextmanager
def running_demo(folder: Path, *arguments: str) -> Iterator[Demo]:
    """Start a demo with its temporary files in a folder, and kill it at the end if it is still there."""
    scratch = folder / "tmp"
    scratch.mkdir()
    output = folder / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli", "demo", "--output", str(output), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(scratch)},
    )
    try:
        yield Demo(process, output, scratch)
    finally:
        process.kill()
        process.communicate()
