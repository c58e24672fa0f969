"""Databases for tests: a new SQLite file each, or a new PostgreSQL database each."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from sqlalchemy import MetaData, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from services.messaging.database import Database

SCHEMA = "tested"


def sqlite_url(folder: Path, name: str = "service") -> str:
    """Name a SQLite file that nobody else uses."""
    return f"sqlite+aiosqlite:///{folder / name}.sqlite"


@contextmanager
def postgresql_database(server_url: str) -> Iterator[str]:
    """Make a database on a PostgreSQL server, yield its URL, and drop it."""
    name = f"test_{uuid4().hex}"
    asyncio.run(_run_on(server_url, f"CREATE DATABASE {name}"))
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        asyncio.run(_run_on(server_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def create_tables(database: Database, metadata: MetaData) -> None:
    """Create tables without migrations, in the schema `tested` on PostgreSQL."""
    async with database.transaction() as connection:
        if not database.is_sqlite:
            await connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        await connection.run_sync(metadata.create_all)


async def _run_on(server_url: str, statement: str) -> None:
    engine = create_async_engine(server_url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()
