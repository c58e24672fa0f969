"""Order events become notices to customers: inbox and notice in one transaction, which waiting events share."""

from __future__ import annotations

from collections.abc import Sequence

from services.contracts import Message
from services.messaging.storage import Database, GroupCommit, Inbox, Member
from services.notification.notice import notice_for
from services.notification.sender import Sender
from services.notification.writes import NotificationWrite


class NotificationHandler:
    """Handles the events of `oms.order.events`."""

    def __init__(self, database: Database, inbox: Inbox, sender: Sender) -> None:
        self._database = database
        self._inbox = inbox
        self._sender = sender
        self._commits = GroupCommit(self._notify, key=lambda event: event.event_id)

    async def __call__(self, event: Message) -> None:
        """Send the customer a notice of one event, once.

        Raises:
            Unavailable: the database can't be reached.
        """
        await self._commits.add(event)

    async def _notify(self, events: Sequence[Member[Message]]) -> None:
        async with self._database.transaction(NotificationWrite.NOTIFICATION) as connection:
            first = await self._inbox.first_deliveries(connection, events)
            notices = [notice for member in first if (notice := notice_for(member.item)) is not None]
            if notices:
                await self._sender.send(connection, notices)
