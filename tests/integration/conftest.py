"""Fixtures of the tests with a real database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.databases import Migrated, postgresql_database, sqlite_url


@pytest.fixture
def database_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database that no other test uses, with nothing in it: on SQLite, and again on PostgreSQL."""
    if database_kind == "sqlite":
        yield sqlite_url(tmp_path)
    else:
        with postgresql_database(request.getfixturevalue("postgres")) as url:
            yield url


@pytest.fixture(scope="session")
def migrated(
    database_kind: str,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Migrated]:
    """The databases that `service_database` copies."""
    server = None if database_kind == "sqlite" else request.getfixturevalue("postgres")
    templates = Migrated(tmp_path_factory.mktemp("migrated"), server)
    yield templates
    asyncio.run(templates.close())


@pytest.fixture
async def service_database(migrated: Migrated) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """A maker of databases with a service's tables, of which no other test knows: `url = await make("oms")`."""
    async with AsyncExitStack() as stack:

        async def make(service: str) -> str:
            url = await migrated.copy(service)
            stack.push_async_callback(migrated.drop, url)
            return url

        yield make
