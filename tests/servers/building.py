"""Build servers by their recipes, once: a stamp keeps what is there until its recipe changes.

A server is built aside and moved into place once it has been seen to run, so a build that is interrupted or fails
leaves what was there before. A checkout has one build at a time: a second waits for the first.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tests.servers.recipes import Recipe, Step
from tests.support.sources import ROOT

HOME = ROOT / ".sagatrace" / "servers"
"""Where built servers are kept; git ignores it."""

_STAMP = ".recipe"
_STEP_S = 1800.0
_NEWS_S = 30.0
_TURN_S = 5.0
_TAIL = 12

INSTALL = {
    "mvn": "mvn is not on PATH (Debian, Ubuntu: apt-get install maven)",
    "java": "java is not on PATH (Debian, Ubuntu: apt-get install default-jre-headless; Kafka needs 17 or newer)",
    "go": "go is not on PATH (Go 1.25 or newer)",
}
"""Program -> what to say when it is not there."""

Say = Callable[[str], None]


class NotBuilt(Exception):
    """A server could not be built; the message says why."""


@dataclass(frozen=True)
class Built:
    """The result of one recipe."""

    recipe: Recipe
    took_s: float
    fresh: bool


def stamp(recipe: Recipe) -> str:
    """Return a SHA-256 of all that goes into a recipe: no other recipe, and no earlier form of it, has the same."""
    digest = hashlib.sha256(repr((recipe, platform.system(), platform.machine())).encode())
    for path in sorted(recipe.folder.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def built(recipe: Recipe, home: Path = HOME) -> Path | None:
    """Find a server that was built by exactly this recipe."""
    folder = home / recipe.part
    mark = folder / _STAMP
    return folder if mark.is_file() and mark.read_text() == stamp(recipe) else None


def build(recipe: Recipe, say: Say, home: Path = HOME) -> Built:
    """Build a server unless it is there.

    Args:
        recipe: how.
        say: prints a line about the progress.
        home: the folder that holds all servers.

    Raises:
        NotBuilt: a program is missing, or a command failed or took more than 30 minutes.
    """
    started = time.monotonic()
    home.mkdir(parents=True, exist_ok=True)
    with _alone(home, say):
        if built(recipe, home):
            return Built(recipe, 0.0, fresh=False)
        _need(recipe)
        say(f"making it; with cold caches about {recipe.about_s} s on two cores")
        _make(recipe, say, home)
    return Built(recipe, time.monotonic() - started, fresh=True)


def _need(recipe: Recipe) -> None:
    missing = [INSTALL[program] for program in recipe.needs if shutil.which(program) is None]
    if missing:
        raise NotBuilt("; ".join(missing))


def _make(recipe: Recipe, say: Say, home: Path) -> None:
    work, out = home / f".{recipe.part}.work", home / f".{recipe.part}.out"
    for folder in (work, out):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(recipe.folder, work)
    out.mkdir()
    log = home / f"{recipe.part}.log"
    log.write_bytes(b"")
    for step in recipe.steps:
        _run(step, work, out, log, say)
    absent = [name for name in recipe.makes if not (out / name).is_file()]
    if absent:
        raise NotBuilt(f"its recipe did not leave {', '.join(absent)}; see {log}")
    (out / _STAMP).write_text(stamp(recipe))
    place = home / recipe.part
    shutil.rmtree(place, ignore_errors=True)
    out.rename(place)
    shutil.rmtree(work)


def _run(step: Step, work: Path, out: Path, log: Path, say: Say) -> None:
    command = [word.replace("{out}", str(out)) for word in step.command]
    started = time.monotonic()
    with log.open("ab") as sink:
        child = subprocess.Popen(
            command,
            cwd=work,
            env=os.environ | step.environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
        try:
            code = _wait(child, started, say)
        finally:
            child.kill()
            child.wait()
    if code != 0:
        raise NotBuilt(f"`{' '.join(command[:3])} ...` {_ended(code)}:\n{_tail(log)}")


def _wait(child: subprocess.Popen[bytes], started: float, say: Say) -> int | None:
    while (left := started + _STEP_S - time.monotonic()) > 0:
        try:
            return child.wait(min(left, _NEWS_S))
        except subprocess.TimeoutExpired:
            say(f"still at it, {time.monotonic() - started:.0f} s")
    return None


def _ended(code: int | None) -> str:
    return f"took more than {_STEP_S:.0f} s" if code is None else f"ended with {code}"


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-_TAIL:])


@contextmanager
def _alone(home: Path, say: Say) -> Iterator[None]:
    deadline = time.monotonic() + _STEP_S
    with (home / ".lock").open("w") as lock:
        while not _locked(lock):
            if time.monotonic() > deadline:
                raise NotBuilt(f"another build in this checkout has not ended in {_STEP_S:.0f} s")
            say("waiting for another build in this checkout")
            time.sleep(_TURN_S)
        yield


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
