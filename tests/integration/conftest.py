"""Fixtures of the tests with a real database."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import postgresql_database, sqlite_url

# A server to run the same tests on, next to SQLite: postgresql+asyncpg://user@host:port/postgres
_POSTGRESQL = os.environ.get("TEST_POSTGRESQL_URL")


@pytest.fixture(params=["sqlite", "postgresql"] if _POSTGRESQL else ["sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database that no other test uses, with nothing in it."""
    if request.param == "sqlite":
        yield sqlite_url(tmp_path)
    else:
        assert _POSTGRESQL is not None
        with postgresql_database(_POSTGRESQL) as url:
            yield url
