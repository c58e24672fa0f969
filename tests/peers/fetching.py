"""Fetches what `make peers` runs with pip, pinned by version and hash, into `.sagatrace/peers`; what is there stays."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.sources import ROOT

HOME = ROOT / ".sagatrace" / "peers"
LOCK = ROOT / "requirements.lock"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
"""What the suites need and the project does not."""

# Fetching an sdist asks its build back end for the metadata, for which aiokafka's needs Cython.
_FETCH_S = 300.0


class NotFetched(Exception):
    """Something could not be fetched; the message ends with what pip said."""


@dataclass(frozen=True)
class Pin:
    """A package as a requirements file pins it.

    Args:
        name: its name.
        version: its version.
        lines: its lines in the file, hashes among them.
    """

    name: str
    version: str
    lines: str

    @classmethod
    def of(cls, name: str, requirements: Path) -> "Pin":
        """Read the pin of a package.

        Raises:
            NotFetched: the file does not have the package.
        """
        found = re.search(
            rf"^{re.escape(name)}==(\S+).*(?:\n[ ]+--hash=.*)*", requirements.read_text(), flags=re.MULTILINE
        )
        if found is None:
            raise NotFetched(f"{name} is not in {requirements.name}")
        return cls(name, found[1], found[0] + "\n")

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def sdist(pin: Pin) -> Path:
    """Fetch and unpack the sdist of a package.

    Returns:
        The folder with its files.

    Raises:
        NotFetched: it could not be fetched, or its hash is not one of the pin's.
    """

    def fetch(folder: Path) -> None:
        # pip hands --no-binary on to the build back end's own environment: `:all:` would compile Cython.
        _pip("download", pin, "--no-binary", pin.name, "--dest", str(folder))
        (archive,) = folder.glob("*.tar.gz")
        shutil.unpack_archive(archive, folder, filter="data")
        archive.unlink()

    (unpacked,) = (path for path in _kept(f"{pin.name}-{pin.version}", fetch).iterdir() if path.is_dir())
    return unpacked


def package(pin: Pin) -> Path:
    """Install a package, without what it depends on, into a folder of its own.

    Returns:
        The folder, for `PYTHONPATH`.

    Raises:
        NotFetched: it could not be fetched, or its hash is not the pin's.
    """

    def fetch(folder: Path) -> None:
        _pip("install", pin, "--only-binary", ":all:", "--target", str(folder))

    return _kept(f"{pin.name}-{pin.version}", fetch)


def _kept(name: str, fetch: Callable[[Path], None]) -> Path:
    """Return a folder that `fetch` fills the first time; one that is half filled is never kept."""
    kept = HOME / name
    if not kept.is_dir():
        HOME.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=HOME) as temporary:
            folder = Path(temporary) / "new"
            folder.mkdir()
            fetch(folder)
            folder.rename(kept)
    return kept


def _pip(command: str, pin: Pin, *options: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write(pin.lines)
        requirements.flush()
        pip = [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", "--no-deps"]
        try:
            result = subprocess.run(
                [*pip, "--require-hashes", *options, "--requirement", requirements.name],
                capture_output=True,
                text=True,
                timeout=_FETCH_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise NotFetched(f"{pin} could not be fetched within {_FETCH_S:.0f} s") from error
    if result.returncode != 0:
        raise NotFetched(f"{pin} could not be fetched\n{result.stderr.strip()}")
