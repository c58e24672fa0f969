"""What an installation without some extra can import, tried in a separate process."""

import subprocess
import sys
from importlib.metadata import packages_distributions, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def modules_beyond(installed: str) -> frozenset[str]:
    """Return the top-level modules of this environment that `pip install` of one requirement would not bring."""
    brought = brought_by(installed)
    return frozenset(
        module
        for module, distributions in packages_distributions().items()
        if not brought.intersection(map(canonicalize_name, distributions))
    )


def brought_by(installed: str) -> frozenset[str]:
    """Return the names of the distributions that `pip install` of one requirement brings."""
    brought: set[str] = set()
    requirement = Requirement(installed)
    _collect(requirement.name, frozenset(requirement.extras), brought, set())
    return frozenset(brought)


def run_without(modules: frozenset[str], code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter in which the given top-level modules cannot be imported."""
    absent = f"import sys; sys.modules.update(dict.fromkeys({sorted(modules)!r}))\n"
    command = [sys.executable, "-c", absent + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def _collect(name: str, extras: frozenset[str], brought: set[str], seen: set[tuple[str, frozenset[str]]]) -> None:
    """Add a distribution and all that it requires, by the metadata of what is installed."""
    if (name, extras) in seen:
        return
    seen.add((name, extras))
    brought.add(name)
    for line in requires(name) or ():
        requirement = Requirement(line)
        if _applies(requirement, extras):
            _collect(canonicalize_name(requirement.name), frozenset(requirement.extras), brought, seen)


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""})
