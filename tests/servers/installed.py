"""Find the servers on this machine: those that `make servers` built, and the system's PostgreSQL and Chromium."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.servers.building import INSTALL, built
from tests.servers.recipes import RECIPES, Recipe

POSTGRES = "postgres"
CHROMIUM = "chromium"
FOUND = (POSTGRES, CHROMIUM)
"""The parts that are found and not built."""

PARTS = (*(recipe.part for recipe in RECIPES), *FOUND)
"""All parts, by their names in `SAGATRACE_REQUIRE`."""

_RECIPES = {recipe.part: recipe for recipe in RECIPES}
_POSTGRES_PROGRAMS = ("initdb", "postgres")
# Where packages put versions side by side: Debian and Ubuntu, Red Hat, Homebrew on its two kinds of machine.
_POSTGRES_FOLDERS = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql*/bin",
    "usr/local/opt/postgresql*/bin",
)
_CHROMIUM_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_ASK_S = 100.0


class NotInstalled(Exception):
    """A server is not on this machine; the message says how to get it."""


def installed(part: str) -> Path:
    """Find the folder of a part's programs (of its jars, for Kafka); the program itself, for Chromium.

    Raises:
        NotInstalled: it is not there, or was made by an older recipe, or what it runs on is missing.
    """
    if part == CHROMIUM:
        return chromium_program()
    return postgres_programs() if part == POSTGRES else _made(_RECIPES[part])


def version(part: str, path: Path) -> str:
    """Ask a part that is found for its version."""
    if part == POSTGRES:
        return _output(str(path / "postgres"), "--version").split(")")[1].split()[0]
    return next(word for word in _output(str(path), "--version").split() if word[0].isdigit())


def chromium_program() -> Path:
    """Find Chromium, or a browser that is built from it.

    Raises:
        NotInstalled: none is on PATH.
    """
    program = next(filter(None, map(shutil.which, _CHROMIUM_PROGRAMS)), None)
    if program is None:
        raise NotInstalled("no chromium on PATH (Debian: apt-get install chromium)")
    return Path(program)


def postgres_programs() -> Path:
    """Find the folder with PostgreSQL's server programs, the newest version of several.

    Raises:
        NotInstalled: no folder has them.
    """
    for folder in _postgres_folders():
        if all(os.access(folder / program, os.X_OK) for program in _POSTGRES_PROGRAMS):
            return folder
    raise NotInstalled(
        "no initdb under /usr/lib/postgresql, by pg_config or on PATH (Debian, Ubuntu: apt-get install postgresql)",
    )


def java() -> str:
    """Find the Java that runs Kafka: the one on PATH.

    Raises:
        NotInstalled: there is none.
    """
    program = shutil.which("java")
    if program is None:
        raise NotInstalled(INSTALL["java"])
    return program


def _made(recipe: Recipe) -> Path:
    folder = built(recipe)
    if folder is None:
        raise NotInstalled("run `make servers`")
    if "java" in recipe.needs:
        java()
    return folder


def _postgres_folders() -> Iterator[Path]:
    found = [path for pattern in _POSTGRES_FOLDERS for path in Path("/").glob(pattern)]
    yield from sorted(found, key=_version_in, reverse=True)
    if shutil.which("pg_config"):
        yield Path(_output("pg_config", "--bindir").strip())
    if program := shutil.which("initdb"):
        yield Path(program).resolve().parent


def _version_in(folder: Path) -> list[int]:
    return [int(digits) for digits in "".join(c if c.isdigit() else " " for c in str(folder)).split()]


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=True).stdout
