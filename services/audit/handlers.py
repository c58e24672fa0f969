"""Every event goes into the trail, once: inbox and trail in one transaction."""

from __future__ import annotations

from opentelemetry import trace

from services.audit import store
from services.audit.entry import AuditEntry
from services.audit.writes import AuditWrite
from services.contracts import Message
from services.messaging import semconv
from services.messaging.errors import Fatal
from services.messaging.storage import Database, Inbox


class AuditHandler:
    """Keeps the events of `oms.order.events` and `oms.saga.events`, read by `entry_of`."""

    def __init__(self, database: Database, inbox: Inbox) -> None:
        self._database = database
        self._inbox = inbox

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
        async with self._database.transaction(AuditWrite.TRAIL) as connection:
            if not await self._inbox.first_delivery(connection, entry.event_id):
                return
            if not await store.append(connection, entry):
                trace.get_current_span().set_attribute(semconv.SAGATRACE_DUPLICATE, value=True)
