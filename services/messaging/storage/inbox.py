"""The inbox: the messages that a consumer group has processed, so that each has its effect once.

The row is inserted in the transaction of the effect. A rollback removes it, so a redelivery is processed; a second
delivery that runs at the same time waits for the first one's commit and then finds the row.
"""

from __future__ import annotations

from uuid import UUID

from opentelemetry import trace
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from services.messaging import semconv
from services.messaging.storage.clock import database_now, database_time
from services.messaging.storage.inserts import insert_once
from services.messaging.storage.tables import INBOX
from tracing.exposure import expose


class Inbox:
    """What one consumer group has processed."""

    def __init__(self, group: str) -> None:
        self.group = group

    async def first_delivery(self, connection: AsyncConnection, event_id: UUID) -> bool:
        """Record a message as processed, in the caller's transaction; return False if it already was.

        Then the current span is marked as that of a duplicate, and the caller has nothing more to do.
        """
        values = {"consumer_group": self.group, "event_id": event_id, "processed_at": database_now()}
        first = await insert_once(connection, INBOX, **values)
        if first:
            # The commit says that the message has had its effect, so the span of that effect must not be lost.
            expose()
        else:
            trace.get_current_span().set_attribute(semconv.SAGATRACE_DUPLICATE, value=True)
        return first

    async def prune(self, connection: AsyncConnection, retention_s: float) -> int:
        """Delete messages processed longer ago than `retention_s` seconds, and return how many.

        The retention outlasts the longest possible re-drive: a message that comes after it has its effect again.
        """
        old = (INBOX.c.consumer_group == self.group) & (INBOX.c.processed_at < database_time(-retention_s))
        return (await connection.execute(delete(INBOX).where(old))).rowcount
