"""How pytest-xdist divides a run among processes. A pytest plugin; the Makefile has the options."""

import os
import re

import pytest

# As in the repr of an object.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than there are cores: tests wait more than they compute."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test whose id has an address in it: all processes of a run have to collect the same ids.

    Raises:
        UsageError: names the tests.
    """
    if unstable := [item.nodeid for item in items if _ADDRESS.search(item.nodeid)]:
        raise pytest.UsageError(f"give these parameters an id that is the same in every process: {', '.join(unstable)}")
