"""Order events become letters: inbox and letter in one transaction."""

from __future__ import annotations

from services.contracts import Message
from services.messaging.crash_points import Write
from services.messaging.storage import Database, Inbox
from services.notification.letter import letter_about
from services.notification.sender import Sender


class NotificationHandler:
    """Takes the events of `oms.order.events`."""

    def __init__(self, database: Database, inbox: Inbox, sender: Sender) -> None:
        self._database = database
        self._inbox = inbox
        self._sender = sender

    async def __call__(self, event: Message) -> None:
        """Tell the customer of one event, once.

        Raises:
            Unavailable: the database is away.
        """
        async with self._database.transaction(Write.NOTIFICATION) as connection:
            if not await self._inbox.first_delivery(connection, event.event_id):
                return
            letter = letter_about(event)
            if letter is not None:
                await self._sender.send(connection, letter)
