"""The declaration of the payment service: commands, and the simulated gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.contracts.topics import PAYMENT_COMMANDS, PAYMENT_GROUP
from services.messaging.participant import Participant, Resources, Work
from services.messaging.storage import Database, upgrade
from services.payment import store
from services.payment.gateway import SimulatedGateway
from services.payment.handlers import PaymentHandler
from services.payment.settings import GatewaySettings
from services.payment.writes import PaymentWrite

GATEWAY = "payment_gateway"


@asynccontextmanager
async def simulated_gateway(service_url: str) -> AsyncIterator[SimulatedGateway]:
    """Open the simulated gateway on its own database."""
    settings = GatewaySettings.read()
    url = settings.url(service_url)
    await upgrade(url, GATEWAY, scripts="services.payment.gateway_migrations")
    database = Database(url, schema=GATEWAY)
    try:
        yield SimulatedGateway(database, settings.plan())
    finally:
        await database.close()


@asynccontextmanager
async def _work(resources: Resources) -> AsyncIterator[Work]:
    async with simulated_gateway(resources.database_url) as gateway:
        yield Work(
            resources.consumer(PaymentHandler(resources.database, resources.inbox, resources.outbox, gateway)),
            loops=[gateway.pruning(resources.retention)],
            prunes=[(store.prune, resources.retention.tombstones)],
        )


PAYMENT = Participant(
    name="payment",
    group=PAYMENT_GROUP,
    topics=[PAYMENT_COMMANDS],
    work=_work,
    writes=PaymentWrite,
)


async def main() -> None:
    """Run the payment service."""
    await PAYMENT.run()
