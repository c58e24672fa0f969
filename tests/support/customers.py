"""Customers who order all the time, and repeat a request with the same key until the order is accepted."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import httpx2

from services.cli.order_api import PlacedOrder
from services.cli.scenarios import SCENARIOS

# More than any answer may take; who waits so long was not answered.
_PATIENCE_S = 60.0


@dataclass
class Customers:
    """Customers of one order API, and the answers they got.

    Args:
        url: Where the API is.
        thinks_s: How long each waits between requests, in seconds.
    """

    url: str
    thinks_s: float = 0.4
    #: How often each status was answered; 0 is no answer.
    answers: Counter[int] = field(default_factory=Counter)
    #: The order that was accepted for each key.
    accepted: dict[str, PlacedOrder] = field(default_factory=dict)
    #: The orders that were accepted and then canceled.
    canceled: set[str] = field(default_factory=set)
    #: What the slowest answer took, in seconds.
    slowest_s: float = 0.0
    _closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def shop(self, count: int = 4) -> None:
        """Let this many customers order until `close`; each finishes the order it is placing."""
        async with httpx2.AsyncClient(base_url=self.url, timeout=_PATIENCE_S) as client, asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(self._order_again_and_again(client))

    async def change_their_minds(self, count: int) -> None:
        """Place this many orders and cancel each at once: two commands for the stock, one after the other."""
        async with httpx2.AsyncClient(base_url=self.url, timeout=_PATIENCE_S) as client:
            for key in [str(uuid4()) for _ in range(count)]:
                await self._order(client, key)
                order_id = self.accepted[key].order_id
                answer = await client.post(f"/orders/{order_id}/cancel")
                assert answer.status_code == HTTPStatus.ACCEPTED, answer.text
                self.canceled.add(order_id)

    def close(self) -> None:
        """Begin no further orders."""
        self._closing.set()

    async def _order_again_and_again(self, client: httpx2.AsyncClient) -> None:
        while not self._closing.is_set():
            key = str(uuid4())
            while key not in self.accepted:
                await self._order(client, key)
                await asyncio.sleep(self.thinks_s)

    async def _order(self, client: httpx2.AsyncClient, key: str) -> None:
        began = time.monotonic()
        try:
            answer = await client.post("/orders", json=SCENARIOS[0].order, headers={"Idempotency-Key": key})
        except httpx2.TransportError:
            self.answers[0] += 1
            return
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self.answers[answer.status_code] += 1
        if answer.status_code == HTTPStatus.ACCEPTED:
            told: dict[str, Any] = answer.json()
            self.accepted[key] = PlacedOrder(told["order_id"], told["saga_id"], told["trace_id"])


@asynccontextmanager
async def ordering(customers: Customers) -> AsyncIterator[None]:
    """Let customers order for the length of the block, and then finish the orders they are placing."""
    shopping = asyncio.create_task(customers.shop())
    try:
        yield
        customers.close()
        await shopping
    finally:
        shopping.cancel()
