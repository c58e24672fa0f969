"""How notices reach customers: an interface of one method, and a recorder in place of a mail service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Protocol

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.messaging.storage import database_now
from services.notification.notice import Notice
from services.notification.tables import notifications


class Sender(Protocol):
    """Sends notices."""

    async def send(self, connection: AsyncConnection, notices: Sequence[Notice]) -> None:
        """Send notices in the caller's transaction: a sender with a queue puts them there."""


class RecordingSender:
    """Sends nothing, and records each notice as sent, once."""

    async def send(self, connection: AsyncConnection, notices: Sequence[Notice]) -> None:
        """Record notices."""
        await connection.execute(_RECORD, [asdict(notice) for notice in notices])


_RECORD = insert(notifications).values(sent_at=database_now())
