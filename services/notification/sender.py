"""The way out to customers: a seam of one method, and the recorder that stands for a mail service."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.messaging.storage import database_now
from services.notification.letter import Letter
from services.notification.tables import notifications


class Sender(Protocol):
    """Sends letters."""

    async def send(self, connection: AsyncConnection, letter: Letter) -> None:
        """Send a letter, in the transaction that says so: a sender with a queue puts it there."""


class RecordingSender:
    """Sends nothing, and records each letter as sent, once."""

    async def send(self, connection: AsyncConnection, letter: Letter) -> None:
        """Record a letter."""
        values = {
            "event_id": letter.event_id,
            "order_id": letter.order_id,
            "saga_id": letter.saga_id,
            "template": letter.template,
        }
        await connection.execute(_RECORD, values)


_RECORD = insert(notifications).values(sent_at=database_now())
