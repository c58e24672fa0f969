"""Pruning on a real database: what is old goes, in the background, and what is not stays."""

import asyncio

from services.contracts import new_id
from services.messaging.outbox.outbox import Outbox
from services.messaging.storage.database import Database
from services.messaging.storage.inbox import Inbox
from services.messaging.storage.pruning import pruning_loop
from tests.support.eventually import eventually
from tests.support.outboxes import fates, mark_all_sent, put


async def test_the_loop_prunes_each_by_its_own_retention(database: Database, outbox: Outbox) -> None:
    """At its start the loop deletes what is past its retention; what has a longer one is kept."""
    inbox, event_id = Inbox("group"), new_id()
    await put(database, outbox, "sent", "unsent")
    await mark_all_sent(database, outbox, await outbox.claim(1, 60.0))
    async with database.transaction() as connection:
        await inbox.first_delivery(connection, event_id)
    loop = pruning_loop(database, 3600.0, (outbox.prune, -1.0), (inbox.prune, 3600.0))
    task = asyncio.create_task(loop.run())

    async def is_pruned() -> bool:
        return [fate.order for fate in await fates(database)] == ["unsent"]

    await eventually(is_pruned)
    await loop.stop()
    await asyncio.wait_for(task, 100)
    async with database.transaction() as connection:
        assert await inbox.first_delivery(connection, event_id) is False
