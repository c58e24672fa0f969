"""How notices reach customers: an interface of one method, and a recorder in place of a mail service."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.messaging.storage import database_now
from services.notification.notice import Notice
from services.notification.tables import notifications


class Sender(Protocol):
    """Sends notices."""

    async def send(self, connection: AsyncConnection, notice: Notice) -> None:
        """Send a notice in the caller's transaction: a sender with a queue puts it there."""


class RecordingSender:
    """Sends nothing, and records each notice as sent, once."""

    async def send(self, connection: AsyncConnection, notice: Notice) -> None:
        """Record a notice."""
        values = {
            "event_id": notice.event_id,
            "order_id": notice.order_id,
            "saga_id": notice.saga_id,
            "template": notice.template,
        }
        await connection.execute(_RECORD, values)


_RECORD = insert(notifications).values(sent_at=database_now())
