"""Pruning: rows that were sent or processed long enough ago are deleted.

Sent rows are kept so that one can look at what was sent. Inbox rows and tombstones are kept for longer than any message
can come again: the topics' retention, the retries and an operator's re-drive together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncConnection

from services.messaging.crash_points import Write
from services.messaging.loop import Loop
from services.messaging.storage.database import Database

Prune = tuple[Callable[[AsyncConnection, float], Awaitable[int]], float]
"""What deletes rows that are older than a retention, and the retention, in seconds."""


def pruning_loop(database: Database, interval_s: float, *prunes: Prune) -> Loop:
    """Return the loop that prunes every `interval_s` seconds, in a transaction for each of `prunes`."""

    async def turn() -> bool:
        for prune, retention_s in prunes:
            async with database.transaction(Write.PRUNING) as connection:
                await prune(connection, retention_s)
        return False

    return Loop("pruning", turn, interval_s=interval_s)
