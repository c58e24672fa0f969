"""Customers: a steady load of orders of every scenario, over HTTP, from clients that do not give up.

A client that gets no answer repeats its request with the same idempotency key at the next instance. An order is
accepted when a client has read the answer that says so; from then on nothing of it may be lost.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from typing import Any
from uuid import uuid4

from sqlalchemy import func, select

from services.cli.scenarios import SCENARIOS, Request, Scenario
from services.cli.stack import HOST
from services.cli.traces.check import ENDS
from services.messaging.errors import Unavailable
from services.messaging.storage.database import Database
from services.oms.tables import history, sagas

_SCENARIOS = (
    *SCENARIOS,
    Scenario("flaky_payment", outcome="completed", payment_method="pm_flaky"),
    Scenario("slow_payment", outcome="completed", payment_method="pm_slow"),
    Scenario("late_stock", outcome="completed", sku="sku_slow"),
)
_ANSWER_S = 5.0
_PATIENCE_S = 120.0
# How long a customer looks after an order before the next one: the load goes on also where sagas are stuck for long.
_ATTENTION_S = 10.0
# A slow machine is not to fall behind for ever.
_MOST_OPEN = 64
_LOOK_S = 0.1
_AGAIN_S = 0.1


class NoAnswer(Exception):
    """No instance answered a client before it gave up."""


@dataclass
class Order:
    """An order that was accepted, and the requests about it that were."""

    order_id: str
    saga_id: str
    trace_id: str
    scenario: str
    requested: list[Request] = field(default_factory=list)


@dataclass
class Customers:
    """Places orders until it is closed; each customer places one after the other.

    Args:
        ports: Where the instances of the order API listen.
        database: The order service's, to see the sagas' states.
        how_many: How many customers there are.
        chance: Decides what is ordered.
    """

    ports: Sequence[int]
    database: Database
    how_many: int
    chance: random.Random
    orders: dict[str, Order] = field(default_factory=dict)
    #: How often any saga has moved.
    moves: int = 0
    _open: set[str] = field(default_factory=set)
    _status: dict[str, str] = field(default_factory=dict)
    _closed: bool = False

    @property
    def ended(self) -> int:
        """How many orders were seen to end."""
        return len(self.orders) - len(self._open)

    async def run(self) -> None:
        """Place orders until `close`, and then wait until no customer is busy with an order.

        Raises:
            ExceptionGroup: of NoAnswer.
        """
        watching = asyncio.create_task(self._watch())
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self.how_many):
                    tasks.create_task(self._buy_on(random.Random(self.chance.random())))
        finally:
            watching.cancel()

    def standing(self) -> str:
        """Return a line on the state of the orders."""
        stuck = ", ".join(f"{count} {status}" for status, count in self._count_open().most_common())
        return f"{self.ended} orders ended in {self.moves} moves; open: {stuck or 'none'}"

    def _count_open(self) -> Counter[str]:
        return Counter(self._status.get(one, "unseen") for one in self._open)

    def close(self) -> None:
        """Begin no further orders."""
        self._closed = True

    async def _buy_on(self, chance: random.Random) -> None:
        while not self._closed:
            if len(self._open) < _MOST_OPEN:
                await self._buy(chance.choice(_SCENARIOS))
            else:
                await asyncio.sleep(_LOOK_S)

    async def _buy(self, scenario: Scenario) -> None:
        answer = await self._ask("/orders", scenario.order, {"Idempotency-Key": str(uuid4())})
        order = Order(answer["order_id"], answer["saga_id"], answer["trace_id"] or "", scenario.name)
        self.orders[order.order_id] = order
        self._open.add(order.order_id)
        if scenario.request and await self._comes_to(order, {scenario.request_at, *ENDS}):
            await self._request(order, scenario.request)
        await self._comes_to(order, _ends_of(order))

    async def _request(self, order: Order, request: Request) -> None:
        if await self._ask(f"/orders/{order.order_id}/{request}"):
            order.requested.append(request)
            self._open.add(order.order_id)

    async def _comes_to(self, order: Order, wanted: Container[str]) -> bool:
        """Wait until an order reaches a status; return False if that takes too long.

        Whether everything ended is checked in the books, after the last kill.
        """
        deadline = time.monotonic() + _ATTENTION_S
        while self._status.get(order.order_id) not in wanted:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_LOOK_S)
        return True

    async def _watch(self) -> None:
        """Poll the sagas."""
        while True:
            try:
                async with self.database.reading() as connection:
                    self.moves = (await connection.execute(select(func.max(history.c.id)))).scalar_one() or 0
                    asked = select(sagas.c.order_id, sagas.c.status).where(sagas.c.order_id.in_(self._open))
                    self._status |= {row.order_id: row.status for row in await connection.execute(asked)}
                self._open -= {one for one in self._open if self._status.get(one) in _ends_of(self.orders[one])}
            except Unavailable:
                pass
            await asyncio.sleep(_LOOK_S)

    async def _ask(self, path: str, body: object = None, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """Repeat a request until it is answered; an empty answer is a refusal."""
        deadline = time.monotonic() + _PATIENCE_S
        for port in self._in_turn():
            try:
                status, answer = await asyncio.to_thread(_post, port, path, body, headers or {})
            except (OSError, HTTPException, ValueError):
                status, answer = HTTPStatus.SERVICE_UNAVAILABLE, {}
            if status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
                return answer
            if status is HTTPStatus.CONFLICT:
                return {}
            if status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise NoAnswer(f"POST {path} was answered with {status}: {answer}")
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(_AGAIN_S)
        raise NoAnswer(f"POST {path} was not answered for {_PATIENCE_S:.0f} s")

    def _in_turn(self) -> Iterator[int]:
        first = self.chance.randrange(len(self.ports))
        return cycle((*self.ports[first:], *self.ports[:first]))


def _ends_of(order: Order) -> set[str]:
    """Return the status in which an order ends: an accepted refund reopens a completed one."""
    return set(ENDS) - {"completed"} if Request.REFUND in order.requested else set(ENDS)


def _post(port: int, path: str, body: object, headers: dict[str, str]) -> tuple[HTTPStatus, dict[str, Any]]:
    connection = HTTPConnection(HOST, port, timeout=_ANSWER_S)
    try:
        content = None if body is None else json.dumps(body)
        connection.request("POST", path, content, headers | {"Content-Type": "application/json"})
        response = connection.getresponse()
        return HTTPStatus(response.status), json.load(response)
    finally:
        connection.close()
