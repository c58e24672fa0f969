"""The machine that the figures come from, and its cores."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("aiokafka", "opentelemetry-sdk", "opentelemetry-instrumentation-aiokafka", "sagatrace")
_CPUINFO: Final = Path("/proc/cpuinfo")


def cpu_model() -> str:
    """Return the name of the processor."""
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter, by name."""
    found = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


@dataclass(frozen=True, slots=True)
class Cores:
    """Which process runs where: the measured one alone on one core, everything else on the others."""

    #: None where processes cannot be pinned, or there is only one core.
    worker: int | None = None
    others: frozenset[int] = frozenset()

    @classmethod
    def split(cls) -> Cores:
        """Divide the cores that this process may use."""
        if not hasattr(os, "sched_getaffinity"):
            return cls()
        allowed = sorted(os.sched_getaffinity(0))
        return cls(allowed[-1], frozenset(allowed[:-1])) if len(allowed) > 1 else cls()


def pin(cores: frozenset[int]) -> None:
    """Keep this process, its later threads and its children on these cores; on any core if the set is empty."""
    if cores:
        os.sched_setaffinity(0, cores)


def describe(cores: Cores) -> dict[str, object]:
    """Return what a reader needs to know about the machine to compare figures."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "pinned": cores.worker is not None,
        "versions": versions(),
    }
