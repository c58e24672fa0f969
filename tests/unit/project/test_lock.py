"""`requirements.lock` pins everything, by hash, and says nothing of where it was made."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.sources import ROOT

_LOCK = (ROOT / "requirements.lock").read_text()
_PINS = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", _LOCK, re.MULTILINE))


def _requirements() -> list[str]:
    """Every requirement of both distributions, base and extras, and of the development group."""
    library, services = (tomllib.loads((ROOT / folder / "pyproject.toml").read_text()) for folder in ("", "services"))
    lists = [library["dependency-groups"]["dev"]]
    for project in (library["project"], services["project"]):
        lists += [project["dependencies"], *project["optional-dependencies"].values()]
    return [line for lines in lists for line in lines if Requirement(line).name != "sagatrace"]


def test_each_line_is_a_pin_or_a_hash() -> None:
    """The lock holds pins and SHA-256 hashes alone: no index, no link, no path, no comment that names one."""
    pin = r"[a-z0-9-]+==[0-9a-z.]+( ; [a-z_]+ (and|or|[<>=!]+|[a-z_]+|'[A-Za-z0-9_.]+'| )+)? \\"
    odd = [
        line for line in _LOCK.splitlines() if not re.fullmatch(rf"{pin}|    --hash=sha256:[0-9a-f]{{64}}( \\)?", line)
    ]
    assert odd == []


@pytest.mark.parametrize("line", _requirements())
def test_each_requirement_is_pinned(line: str) -> None:
    """What pyproject.toml asks for is in the lock, in a version that it allows."""
    requirement = Requirement(line)
    assert requirement.specifier.contains(_PINS[canonicalize_name(requirement.name)], prereleases=True)
