"""Order events become notices to customers: inbox and notice in one transaction."""

from __future__ import annotations

from services.contracts import Message
from services.messaging.storage import Database, Inbox
from services.notification.notice import notice_for
from services.notification.sender import Sender
from services.notification.writes import NotificationWrite


class NotificationHandler:
    """Handles the events of `oms.order.events`."""

    def __init__(self, database: Database, inbox: Inbox, sender: Sender) -> None:
        self._database = database
        self._inbox = inbox
        self._sender = sender

    async def __call__(self, event: Message) -> None:
        """Send the customer a notice of one event, once.

        Raises:
            Unavailable: the database can't be reached.
        """
        async with self._database.transaction(NotificationWrite.NOTIFICATION) as connection:
            if not await self._inbox.first_delivery(connection, event.event_id):
                return
            notice = notice_for(event)
            if notice is not None:
                await self._sender.send(connection, notice)
