"""The declaration of the inventory: commands, and reservations that are decided later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.contracts.topics import INVENTORY_COMMANDS, INVENTORY_GROUP
from services.inventory import store
from services.inventory.delayed import DelayedReservations
from services.inventory.handlers import StockHandler
from services.inventory.settings import StockSettings
from services.inventory.writes import InventoryWrite
from services.messaging.participant import Participant, Resources, Work


@asynccontextmanager
async def _work(resources: Resources) -> AsyncIterator[Work]:
    settings = StockSettings.read()
    database, outbox, plan = resources.database, resources.outbox, settings.plan()
    yield Work(
        resources.consumer(StockHandler(database, resources.inbox, outbox, plan)),
        loops=[DelayedReservations(database, outbox, plan).loop(settings.reservation_poll)],
        prunes=[(store.prune, resources.retention.tombstones)],
    )


INVENTORY = Participant(
    name="inventory",
    group=INVENTORY_GROUP,
    topics=[INVENTORY_COMMANDS],
    work=_work,
    writes=InventoryWrite,
)


async def main() -> None:
    """Run the inventory."""
    await INVENTORY.run()
