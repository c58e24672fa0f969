"""Migrations on a real database: they make the tables that the code uses, also when several processes start at once."""

import asyncio
import importlib

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, inspect

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


async def test_services_that_start_at_once_queue(database_url: str) -> None:
    """Several processes that start at the same time all find the tables, and each migration runs once."""
    await asyncio.gather(*(upgrade(database_url, "inventory") for _ in range(4)))
    database = Database(database_url, schema="inventory")
    async with database.reading() as connection:
        assert "reservations" in await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    await database.close()


def _differences(connection: Connection, metadata: MetaData) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))
