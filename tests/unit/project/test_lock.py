"""The locks pin everything, by hash, and say nothing of where they were made."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.sources import ROOT

_LOCK = (ROOT / "requirements.lock").read_text()
_NEXT = (ROOT / "requirements-next.lock").read_text()


def _pins(lock: str) -> dict[str, str]:
    """The version of each package in a lock."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))


_PINS = _pins(_LOCK)


def _requirements() -> list[str]:
    """Every requirement of both distributions, base and extras, and of the development group."""
    library, services = (tomllib.loads((ROOT / folder / "pyproject.toml").read_text()) for folder in ("", "services"))
    lists = [library["dependency-groups"]["dev"]]
    for project in (library["project"], services["project"]):
        lists += [project["dependencies"], *project["optional-dependencies"].values()]
    return [line for lines in lists for line in lines if Requirement(line).name != "sagatrace"]


@pytest.mark.parametrize("lock", [_LOCK, _NEXT], ids=["now", "next"])
def test_each_line_is_a_pin_or_a_hash(lock: str) -> None:
    """A lock holds pins and SHA-256 hashes alone: no index, no link, no path, no comment that names one."""
    pin = r"[a-z0-9-]+==[0-9a-z.]+( ; [a-z_]+ (and|or|[<>=!]+|[a-z_]+|'[A-Za-z0-9_.]+'| )+)? \\"
    odd = [
        line for line in lock.splitlines() if not re.fullmatch(rf"{pin}|    --hash=sha256:[0-9a-f]{{64}}( \\)?", line)
    ]
    assert odd == []


@pytest.mark.parametrize("line", _requirements())
def test_each_requirement_is_pinned(line: str) -> None:
    """What pyproject.toml asks for is in the lock, in a version that it allows."""
    requirement = Requirement(line)
    assert requirement.specifier.contains(_PINS[canonicalize_name(requirement.name)], prereleases=True)


def test_the_next_environment_differs_in_a_newer_aiokafka_alone() -> None:
    """`make next` runs with the packages of the lock, and with a version of aiokafka that pyproject.toml allows."""
    assert _pins(_NEXT).keys() == {"aiokafka"}
    following = Version(_pins(_NEXT)["aiokafka"])
    assert following > Version(_PINS["aiokafka"])
    (asked,) = (Requirement(line) for line in _requirements() if Requirement(line).name == "aiokafka")
    assert asked.specifier.contains(following, prereleases=True)
