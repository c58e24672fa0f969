"""Every event goes into the trail, once: inbox and trail in one transaction, which waiting events share."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry import trace

from services.audit import store
from services.audit.entry import AuditEntry
from services.audit.writes import AuditWrite
from services.contracts import Message
from services.messaging import semconv
from services.messaging.errors import Fatal
from services.messaging.storage import Database, GroupCommit, Inbox, Member, mark_duplicate


class AuditHandler:
    """Keeps the events of `oms.order.events` and `oms.saga.events`, read by `entry_of`."""

    def __init__(self, database: Database, inbox: Inbox) -> None:
        self._database = database
        self._inbox = inbox
        self._commits = GroupCommit(self._append, key=lambda entry: entry.event_id)

    async def __call__(self, entry: Message) -> None:
        """Append one entry.

        An event is identified by its id. A record without one gets a new id when it is read: its place identifies it.

        Raises:
            Fatal: the message was not read by `entry_of`.
            Unavailable: the database can't be reached.
        """
        if not isinstance(entry, AuditEntry):
            raise Fatal("the audit trail keeps records, and this message came without one")
        if not entry.is_known:
            # Only now: a type that may be any text must not name the span.
            trace.get_current_span().set_attribute(semconv.SAGATRACE_MESSAGE_TYPE, entry.event_type)
        await self._commits.add(entry)

    async def _append(self, entries: Sequence[Member[AuditEntry]]) -> None:
        async with self._database.transaction(AuditWrite.TRAIL) as connection:
            first = await self._inbox.first_deliveries(connection, entries)
            new = await store.append(connection, [member.run(store.row_of, member.item) for member in first])
            for member in first:
                if member.item.event_id not in new:
                    member.run(mark_duplicate)
