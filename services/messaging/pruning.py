"""Pruning: what has been sent or processed long enough ago is deleted, a little at a time.

Sent rows are kept for a look at what went out. Inbox rows and tombstones are kept longer than any message can come
again: the topics' retention, the retries and an operator's re-drive together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from services.messaging.database import Database
from services.messaging.loop import Loop

_DAY_S = 86_400.0


@dataclass(frozen=True)
class Retention:
    """How long rows are kept, in seconds."""

    sent_s: float = 7 * _DAY_S
    inbox_s: float = 90 * _DAY_S
    tombstone_s: float = 90 * _DAY_S


def pruning(
    database: Database,
    *prunes: tuple[Callable[[AsyncConnection, float], Awaitable[int]], float],
    interval_s: float = 3600.0,
) -> Loop:
    """Make the loop that calls each (prune, retention in seconds) in a transaction of its own."""

    async def turn() -> bool:
        for prune, retention_s in prunes:
            async with database.transaction() as connection:
                await prune(connection, retention_s)
        return False

    return Loop("pruning", turn, interval_s=interval_s)
