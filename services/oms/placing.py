"""Orders that are placed: each one's row and the first move of its saga, in a transaction that requests share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from sqlalchemy.ext.asyncio import AsyncConnection

from services.messaging.storage import Database, GroupCommit, Member
from services.messaging.trace_context import bind_saga, capture
from services.oms import store
from services.oms.problems import Problem
from services.oms.records import Order, Saga, new_saga
from services.oms.saga import Input
from services.oms.transitions import Transition, Transitions
from services.oms.writes import OmsWrite


@dataclass(slots=True)
class _Placing:
    """An order that is to be placed, and the saga that it got, or that the order before it with the same key has."""

    order: Order
    key: str | None
    saga: Saga | None = None
    problem: Problem | None = None


class Placing:
    """Places orders."""

    def __init__(self, database: Database, transitions: Transitions) -> None:
        self._database = database
        self._transitions = transitions
        self._commits = GroupCommit(self._place_all, key=lambda placing: placing.key or placing.order.order_id)

    async def place(self, order: Order, key: str | None) -> Saga:
        """Start the saga of an order in the current trace, or return that of the order which already has the key.

        Raises:
            Problem: the idempotency key was used for another order.
            Unavailable: the database can't be reached.
        """
        placing = _Placing(order, key)
        await self._commits.add(placing)
        if placing.problem is not None:
            raise placing.problem
        if placing.saga is None:
            raise RuntimeError(f"order {order.order_id} was committed without a saga")
        return placing.saga

    async def _place_all(self, placings: Sequence[Member[_Placing]]) -> None:
        async with self._database.transaction(OmsWrite.ORDER_PLACED) as connection:
            for member in sorted(placings, key=lambda member: member.item.key or ""):
                await _find_earlier(connection, member.item)
            new = [member for member in placings if member.item.saga is None and member.item.problem is None]
            if new:
                at = await store.insert_orders(connection, [member.item.order for member in new])
                await self._transitions.write(connection, [member.run(self._start, member.item, at) for member in new])

    def _start(self, placing: _Placing, at: datetime) -> Transition:
        held = new_saga(placing.order, capture(), at)
        with bind_saga(held.saga.saga_id, held.saga.order_id):
            transition = self._transitions.decide(held, Input.START)
        placing.saga = transition.saga
        return transition


async def _find_earlier(connection: AsyncConnection, placing: _Placing) -> None:
    """Claim the idempotency key of an order if it is free, or find the saga of the order that has it."""
    placing.saga = placing.problem = None  # of an earlier attempt, which was rolled back
    if placing.key is None:
        return
    fingerprint = _fingerprint(placing.order)
    taken = await store.claim_key(connection, placing.key, fingerprint, placing.order.order_id)
    if taken is None:
        return
    if taken[0] == fingerprint:
        placing.saga = await store.read_saga_of(connection, taken[1])
    else:
        detail = "this Idempotency-Key was used for another order"
        placing.problem = Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, field="Idempotency-Key")


def _fingerprint(order: Order) -> str:
    """Return a digest of what was ordered, so that the same key with another order is noticed."""
    parts = [order.customer_id, order.payment_method, *(item.model_dump_json() for item in order.items)]
    if order.delivery_window is not None:
        parts.append(order.delivery_window.model_dump_json())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
