"""A database with nothing in it but an outbox and an inbox."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import MetaData

from services.messaging.database import Database
from services.messaging.outbox import Outbox
from services.messaging.tables import inbox_table, outbox_table
from tests.support.databases import SCHEMA, create_tables


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The database, with both tables."""
    metadata = MetaData()
    outbox_table(metadata)
    inbox_table(metadata)
    opened = Database(database_url, schema=SCHEMA)
    await create_tables(opened, metadata)
    yield opened
    await opened.close()


@pytest.fixture
def outbox(database: Database) -> Outbox:
    """The outbox of that database."""
    return Outbox(database)
