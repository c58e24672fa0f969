"""A member of a group, as a service process: `python -m tests.support.member NAME`. It enters messages into a table.

The table accepts an entry twice: only the inbox prevents a double effect of a repeated message.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Column, Integer, MetaData, String, Table, insert

from services.cli.lifeline import hold
from services.contracts import Message
from services.messaging import Consumer
from services.messaging.part import Part
from services.messaging.readiness import Readiness
from services.messaging.runtime import Parts, run_service
from services.messaging.settings import DatabaseSettings, KafkaSettings
from services.messaging.storage.database import Database
from services.messaging.storage.inbox import Inbox
from services.messaging.storage.tables import RowId, inbox_table
from tests.support.databases import SCHEMA

GROUP = "members"
TOPIC = "entered"

metadata = MetaData()
inbox = inbox_table(metadata)
entries = Table(
    "entries",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("key", String(64), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("member", String(64), nullable=False),
)


def parts(name: str) -> Parts:
    """Make the parts of a member that signs with a name."""

    @asynccontextmanager
    async def opened(readiness: Readiness) -> AsyncIterator[Sequence[Part]]:
        database = Database(DatabaseSettings.read().url_of(name), schema=SCHEMA)
        received = Inbox(GROUP)

        async def enter(message: Message) -> None:
            async with database.transaction() as connection:
                if await received.first_delivery(connection, message.event_id):
                    entry = {"key": message.order_id, "sequence": message.sequence, "member": name}
                    await connection.execute(insert(entries).values(entry))

        yield [Consumer(KafkaSettings.read().bootstrap_servers, GROUP, [TOPIC], enter, readiness=readiness)]
        await database.close()

    return opened


if __name__ == "__main__":
    hold(Path(os.devnull))
    asyncio.run(run_service(sys.argv[1], parts(sys.argv[1])))
