"""Reservations that are answered late: a row with a due time and a loop, so that no partition waits for them."""

from __future__ import annotations

from opentelemetry import trace

from services.inventory import store
from services.inventory.handlers import settle, write
from services.inventory.stock import FailurePlan
from services.inventory.writes import InventoryWrite
from services.messaging import semconv
from services.messaging.loop import Loop
from services.messaging.outbox import Outbox
from services.messaging.storage import Database
from services.messaging.trace_context import bind_saga, mark_refusal, restore
from tracing.binding import use_context


class DelayedReservations:
    """Decides pending reservations that have become due."""

    def __init__(self, database: Database, outbox: Outbox, plan: FailurePlan) -> None:
        self._database = database
        self._outbox = outbox
        self._plan = plan
        self._tracer = trace.get_tracer(semconv.SCOPE_INVENTORY)

    def loop(self, interval_s: float) -> Loop:
        """Return the loop that looks for due reservations every `interval_s` seconds."""
        return Loop("delayed reservations", self.settle_next, interval_s=interval_s)

    async def settle_next(self) -> bool:
        """Decide the reservation that is due first; return False if none is.

        The span continues the trace of the reserve, whose process span has long ended, and the reply is its child.
        """
        async with self._database.reading() as connection:
            if not await store.is_any_due(connection):
                return False
        async with self._database.transaction(InventoryWrite.STOCK_DELAYED) as connection:
            held = await store.hold_due(connection)
            if held is None:
                return False
            with (
                use_context(restore(held.trace_context)),
                bind_saga(held.saga_id, held.order_id, **{semconv.SAGA_STEP: held.step}),
                self._tracer.start_as_current_span(semconv.SPAN_RESERVE_STOCK),
            ):
                shelf = await store.hold_stock(connection, held.quantities, self._plan)
                done = settle(self._outbox, held, shelf)
                await write(connection, self._outbox, [done], shelf)
                if done.reply is not None:
                    mark_refusal(done.reply)
        return True
