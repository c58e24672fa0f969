"""Databases for tests: a new SQLite file each, or a new PostgreSQL database each, empty or with a service's tables."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from sqlalchemy import MetaData, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from services.messaging.storage.database import Database
from services.messaging.storage.migrations import upgrade

SCHEMA = "tested"


def sqlite_url(folder: Path, name: str = "service") -> str:
    """Return the URL of a SQLite file that nothing else uses."""
    return f"sqlite+aiosqlite:///{folder / name}.sqlite"


@contextmanager
def postgresql_database(server_url: str) -> Iterator[str]:
    """Create an empty database on a PostgreSQL server, yield its URL, and drop it."""
    url = asyncio.run(create_database(server_url))
    try:
        yield url
    finally:
        asyncio.run(drop_database(url))


async def create_database(server_url: str, template: str = "template1") -> str:
    """Create a database on a PostgreSQL server as a copy of another that has no connections; return its URL."""
    name = f"test_{uuid4().hex}"
    await _run_on(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


async def drop_database(url: str) -> None:
    """Drop a database of a PostgreSQL server, even if it has connections."""
    name = make_url(url).database
    server = make_url(url).set(database="postgres").render_as_string(hide_password=False)
    await _run_on(server, f"DROP DATABASE {name} WITH (FORCE)")


class Migrated:
    """Databases with the tables of a service, copied from one that was migrated once.

    Args:
        folder: holds the SQLite files.
        server_url: a PostgreSQL server to make the databases on, or None for SQLite.
    """

    def __init__(self, folder: Path, server_url: str | None) -> None:
        self._folder = folder
        self._server_url = server_url
        self._templates: dict[str, str] = {}

    async def copy(self, service: str) -> str:
        """Create a database with a service's tables, and return its URL."""
        template = await self._template(service)
        if self._server_url is not None:
            return await create_database(self._server_url, make_url(template).database or "")
        url = sqlite_url(self._folder, f"{service}-{uuid4().hex}")
        shutil.copy(_file(template), _file(url))
        return url

    async def drop(self, url: str) -> None:
        """Drop a copy."""
        if self._server_url is not None:
            await drop_database(url)
        else:
            _file(url).unlink(missing_ok=True)

    async def close(self) -> None:
        """Drop the templates of the copies."""
        for template in self._templates.values():
            await self.drop(template)
        self._templates.clear()

    async def _template(self, service: str) -> str:
        if service not in self._templates:
            made = await create_database(self._server_url) if self._server_url else sqlite_url(self._folder, service)
            await upgrade(made, service)
            self._templates[service] = made
        return self._templates[service]


async def create_tables(database: Database, metadata: MetaData) -> None:
    """Create tables without migrations, in the schema `tested` on PostgreSQL."""
    async with database.transaction() as connection:
        if not database.is_sqlite:
            await connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        await connection.run_sync(metadata.create_all)


def _file(url: str) -> Path:
    return Path(make_url(url).database or "")


async def _run_on(server_url: str, statement: str) -> None:
    engine = create_async_engine(server_url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(text(statement))
    finally:
        await engine.dispose()
