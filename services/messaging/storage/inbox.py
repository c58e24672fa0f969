"""The inbox: the messages that a consumer group has processed, so that each has its effect once.

The rows are inserted in the transaction of the effects. A rollback removes them, so a redelivery is processed; a second
delivery that runs at the same time waits for the first one's commit and then finds the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar
from uuid import UUID

from opentelemetry import trace
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from services.messaging import semconv
from services.messaging.storage.clock import database_now, database_time
from services.messaging.storage.group_commit import Member
from services.messaging.storage.inserts import insert_each_once
from services.messaging.storage.tables import INBOX
from tracing.exposure import expose


class Identified(Protocol):
    """A message, as far as the inbox needs one."""

    @property
    def event_id(self) -> UUID:
        """The message's id, the same at each delivery."""


M = TypeVar("M", bound=Identified)


class Inbox:
    """What one consumer group has processed."""

    def __init__(self, group: str) -> None:
        self.group = group

    async def first_delivery(self, connection: AsyncConnection, event_id: UUID) -> bool:
        """Record a message as processed, in the caller's transaction; return False if it already was.

        Then the current span is marked as that of a duplicate, and the caller has nothing more to do.
        """
        is_new = bool(await self._insert(connection, [event_id]))
        _mark(is_new=is_new)
        return is_new

    async def first_deliveries(self, connection: AsyncConnection, members: Sequence[Member[M]]) -> list[Member[M]]:
        """Record the messages of a batch as `first_delivery` does each, and return those that were new."""
        new = await self._insert(connection, sorted({member.item.event_id for member in members}))
        first = []
        for member in members:
            is_new = member.item.event_id in new
            member.run(_mark, is_new=is_new)
            if is_new:
                new.remove(member.item.event_id)
                first.append(member)
        return first

    async def prune(self, connection: AsyncConnection, retention_s: float) -> int:
        """Delete messages processed longer ago than `retention_s` seconds, and return how many.

        The retention outlasts the longest possible re-drive: a message that comes after it has its effect again.
        """
        old = (INBOX.c.consumer_group == self.group) & (INBOX.c.processed_at < database_time(-retention_s))
        return (await connection.execute(delete(INBOX).where(old))).rowcount

    async def _insert(self, connection: AsyncConnection, event_ids: Sequence[UUID]) -> set[UUID]:
        ours = {"consumer_group": self.group, "processed_at": database_now()}
        rows = [ours | {"event_id": event_id} for event_id in event_ids]
        return await insert_each_once(connection, INBOX, rows, INBOX.c.event_id)


def mark_duplicate() -> None:
    """Mark the current span as that of a message that has had its effect before."""
    trace.get_current_span().set_attribute(semconv.SAGATRACE_DUPLICATE, value=True)


def _mark(*, is_new: bool) -> None:
    if is_new:
        # The commit says that the message has had its effect, so the span of that effect must not be lost.
        expose()
    else:
        mark_duplicate()
