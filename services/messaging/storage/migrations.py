"""Schema migrations: each service has its own Alembic folder, and all share the environment here.

`upgrade` runs at the start of every service. It is one transaction, so a failed migration leaves nothing behind, and
services that start at the same time queue: on SQLite by the write lock, on PostgreSQL by an advisory lock that the
transaction holds. On PostgreSQL it creates the service's schema first. Tables that a newer program has migrated stay as
they are: a revision only adds what an older program can do without.
"""

from __future__ import annotations

import zlib
from importlib import resources
from pathlib import Path

from alembic import command, context
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.messaging.crash_points import Write
from services.messaging.storage.database import Database


async def upgrade(url: str, service: str, *, scripts: str | None = None, wait_s: float = 60.0) -> None:
    """Migrate a service's tables to the newest revision.

    Args:
        url: The database URL.
        service: The service's name, which is its schema on PostgreSQL.
        scripts: The package that holds the migrations; `services.<service>.migrations` if not given.
        wait_s: The longest wait for another start that is migrating, in seconds.

    Raises:
        Unavailable: the database is away, or another start held the lock for too long.
    """
    _make_folder(url)
    database = Database(url, schema=service, wait_s=wait_s)
    folder = resources.files(scripts or f"services.{service}.migrations")
    try:
        with resources.as_file(folder) as path:
            async with database.transaction(Write.MIGRATION) as connection:
                if not database.is_sqlite:
                    await _hold_schema(connection, service)
                await connection.run_sync(_upgrade_to_head, path)
    finally:
        await database.close()


def run_environment() -> None:
    """Run the migrations on the connection of `upgrade`; each folder's `env.py` calls this."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(connection=connection, render_as_batch=connection.dialect.name == "sqlite")
    context.run_migrations()


def _make_folder(url: str) -> None:
    database = make_url(url).database
    if url.startswith("sqlite") and database:
        Path(database).parent.mkdir(parents=True, exist_ok=True)


async def _hold_schema(connection: AsyncConnection, service: str) -> None:
    """Take the lock that other starts of the service wait for, and create its schema."""
    key = zlib.crc32(f"sagatrace-migrations-{service}".encode())
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
    await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {service}"))


def _upgrade_to_head(connection: Connection, folder: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    if not _is_newer(connection, ScriptDirectory.from_config(config)):
        command.upgrade(config, "head")


def _is_newer(connection: Connection, scripts: ScriptDirectory) -> bool:
    """Return whether a newer program has migrated the tables: this one restarts while the deploy is under way."""
    known = {script.revision for script in scripts.walk_revisions()}
    return not known.issuperset(MigrationContext.configure(connection).get_current_heads())
