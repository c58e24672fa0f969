"""A database with nothing in it but what every service has: outbox, inbox, dead letters."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import MetaData

from services.messaging.database import Database
from services.messaging.outbox import Outbox
from services.messaging.tables import inbox_table, ladder_tables, outbox_table
from tests.support.databases import SCHEMA, create_tables


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The database, with these tables."""
    metadata = MetaData()
    outbox_table(metadata)
    inbox_table(metadata)
    ladder_tables(metadata)
    opened = Database(database_url, schema=SCHEMA)
    await create_tables(opened, metadata)
    yield opened
    await opened.close()


@pytest.fixture
def outbox(database: Database) -> Outbox:
    """The outbox of that database."""
    return Outbox(database)
