"""Migrations on a real database: they make the tables that the code uses, also when several processes start at once."""

import asyncio
import importlib
import re
from importlib import resources

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, inspect, text

from services.messaging.storage.database import Database
from services.messaging.storage.migrations import upgrade

# schema -> (the module that holds its tables, the package that holds its migrations)
_SCHEMAS = {
    "audit": ("services.audit.tables", None),
    "inventory": ("services.inventory.tables", None),
    "notification": ("services.notification.tables", None),
    "oms": ("services.oms.tables", None),
    "payment": ("services.payment.tables", None),
    "payment_gateway": ("services.payment.gateway_tables", "services.payment.gateway_migrations"),
}

# The newest revision of each schema, as databases in use have it: an id that has been released never changes.
_NEWEST = {
    "audit": "0002",
    "inventory": "0002",
    "notification": "0002",
    "oms": "0005",
    "payment": "0002",
    "payment_gateway": "0002",
}


@pytest.mark.parametrize("schema", _SCHEMAS)
async def test_migrations_make_the_tables_of_the_code(database_url: str, schema: str) -> None:
    """After an upgrade the database has each table, column, type, index and constraint of the metadata, no others."""
    module, scripts = _SCHEMAS[schema]
    metadata: MetaData = importlib.import_module(module).metadata
    await upgrade(database_url, schema, scripts=scripts)
    await upgrade(database_url, schema, scripts=scripts)
    database = Database(database_url, schema=schema)
    async with database.reading() as connection:
        assert await connection.run_sync(_differences, metadata) == []
    await database.close()


@pytest.mark.parametrize("schema", _SCHEMAS)
async def test_a_database_that_was_migrated_before_stays_as_it_is(database_url: str, schema: str) -> None:
    """An upgrade knows the newest revision by the id that is stored, and changes nothing."""
    module, scripts = _SCHEMAS[schema]
    metadata: MetaData = importlib.import_module(module).metadata
    await _store(database_url, schema, metadata)
    await upgrade(database_url, schema, scripts=scripts)
    database = Database(database_url, schema=schema)
    async with database.reading() as connection:
        stored = await connection.execute(text("SELECT version_num FROM alembic_version"))
        assert list(stored.scalars()) == [_NEWEST[schema]]
        assert await connection.run_sync(_differences, metadata) == []
    await database.close()


@pytest.mark.parametrize("schema", _SCHEMAS)
def test_a_revisions_file_is_named_by_its_id(schema: str) -> None:
    """Every service names its revisions `0001_what.py`, so that they are listed in the order in which they run."""
    _, scripts = _SCHEMAS[schema]
    package = f"{scripts or f'services.{schema}.migrations'}.versions"
    names = sorted(
        file.name.removesuffix(".py") for file in resources.files(package).iterdir() if file.name.endswith(".py")
    )
    names.remove("__init__")
    assert all(re.fullmatch(r"[0-9]{4}_[a-z_]+", name) for name in names)
    assert [importlib.import_module(f"{package}.{name}").revision for name in names] == [name[:4] for name in names]


async def test_services_that_start_at_once_queue(database_url: str) -> None:
    """Several processes that start at the same time all find the tables, and each migration runs once."""
    await asyncio.gather(*(upgrade(database_url, "inventory") for _ in range(4)))
    database = Database(database_url, schema="inventory")
    async with database.reading() as connection:
        assert "reservations" in await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    await database.close()


async def test_a_program_restarts_on_tables_that_a_newer_one_has_migrated(database_url: str) -> None:
    """While a deploy is under way an older program that is restarted works on, and changes nothing."""
    metadata: MetaData = importlib.import_module("services.oms.tables").metadata
    await _store(database_url, "oms", metadata, revision="9999")
    await upgrade(database_url, "oms")
    database = Database(database_url, schema="oms")
    async with database.reading() as connection:
        stored = await connection.execute(text("SELECT version_num FROM alembic_version"))
        assert list(stored.scalars()) == ["9999"]
        assert await connection.run_sync(_differences, metadata) == []
    await database.close()


async def _store(url: str, schema: str, metadata: MetaData, revision: str | None = None) -> None:
    """Make a schema's tables and its stored revision, as another version of the service left them."""
    database = Database(url, schema=schema)
    async with database.transaction() as connection:
        if not database.is_sqlite:
            await connection.execute(text(f"CREATE SCHEMA {schema}"))
        await connection.run_sync(metadata.create_all)
        await connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        await connection.execute(
            text("INSERT INTO alembic_version VALUES (:newest)"), {"newest": revision or _NEWEST[schema]}
        )
    await database.close()


def _differences(connection: Connection, metadata: MetaData) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))
