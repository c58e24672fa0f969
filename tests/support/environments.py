"""Wheels of this checkout, and virtual environments that have one of them and what it requires, without a download."""

import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

from tests.support.distributions import brought_by
from tests.support.sources import ROOT

_OWN = frozenset({"sagatrace", "sagatrace-services"})


def build_wheel(project: Path, into: Path) -> Path:
    """Build the wheel of a project folder with the locked build back end."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = into.glob("*.whl")
    return wheel


def make_environment(folder: Path, requirement: str) -> Path:
    """Make a virtual environment as `pip install` of a requirement would, and return its Python.

    `sagatrace` comes from a wheel that is built here, the rest as links to what is installed in the environment of the
    tests.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    for name in brought_by(requirement):
        if name not in _OWN:
            _link(name, packages)
    ZipFile(build_wheel(ROOT, folder / "wheel")).extractall(packages)
    return folder / "bin" / "python"


def _link(name: str, packages: Path) -> None:
    """Link each file: distributions share the folder of a namespace package."""
    for file in distribution(name).files or ():
        if ".." not in file.parts:
            link = packages / file
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.locate())
