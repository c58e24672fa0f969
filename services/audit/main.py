"""The declaration of the audit: every event, into the trail, which is never pruned."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.audit.entry import entry_of
from services.audit.handlers import AuditHandler
from services.audit.writes import AuditWrite
from services.contracts.topics import AUDIT_GROUP, ORDER_EVENTS, SAGA_EVENTS
from services.messaging.participant import Participant, Resources, Work


@asynccontextmanager
async def _work(resources: Resources) -> AsyncIterator[Work]:
    yield Work(resources.consumer(AuditHandler(resources.database, resources.inbox), decode=entry_of))


AUDIT = Participant(
    name="audit",
    group=AUDIT_GROUP,
    topics=[ORDER_EVENTS, SAGA_EVENTS],
    work=_work,
    writes=AuditWrite,
    sends=False,
)


async def main() -> None:
    """Run the audit."""
    await AUDIT.run()
