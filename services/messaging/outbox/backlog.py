"""The outbox as metrics: how much is unsent, and for how long, so that what is stuck is seen early."""

from __future__ import annotations

from opentelemetry import metrics

from services.messaging import semconv
from services.messaging.loop import Loop
from services.messaging.outbox.outbox import Outbox
from services.messaging.storage import Database
from tracing.semconv import MESSAGES, SECONDS


def backlog_gauges(database: Database, outbox: Outbox, *, interval_s: float = 10.0) -> Loop:
    """Return the loop that reads the outbox's backlog into two gauges, every `interval_s` seconds."""
    meter = metrics.get_meter(semconv.SCOPE_MESSAGING)
    unsent = meter.create_gauge(semconv.OUTBOX_UNSENT, unit=MESSAGES, description="Messages not sent yet")
    age = meter.create_gauge(semconv.OUTBOX_AGE, unit=SECONDS, description="Wait of the oldest of them")

    async def turn() -> bool:
        async with database.reading() as connection:
            backlog = await outbox.backlog(connection)
        unsent.set(backlog.rows)
        age.set(backlog.oldest_s)
        return False

    return Loop("outbox backlog", turn, interval_s=interval_s, share=0.01)
