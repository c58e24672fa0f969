"""Commands to the inventory: inbox, locked reservation, action by the table and reply, in one transaction."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts import Message, topics
from services.contracts.commands import ReleaseStock, ReserveStock
from services.inventory import store
from services.inventory.replies import released, reserved_or_rejected
from services.inventory.stock import (
    ACTIONS,
    FailurePlan,
    ReservationAction,
    ReservationRequest,
    ReservationState,
    decide,
    wanted,
)
from services.inventory.store import ReservationRow
from services.inventory.writes import InventoryWrite
from services.messaging.errors import Fatal
from services.messaging.outbox import Outbox
from services.messaging.storage import Database, Inbox
from services.messaging.trace_context import capture, link_compensated, mark_refusal


class StockHandler:
    """Handles the commands of `oms.inventory.commands`."""

    def __init__(self, database: Database, inbox: Inbox, outbox: Outbox, plan: FailurePlan) -> None:
        self._database = database
        self._inbox = inbox
        self._outbox = outbox
        self._plan = plan

    async def __call__(self, command: Message) -> None:
        """Carry out one command.

        Raises:
            Fatal: the message is not a command to the inventory.
            Unavailable: the database can't be reached.
        """
        reply = None
        async with self._database.transaction(InventoryWrite.STOCK) as connection:
            if not await self._inbox.first_delivery(connection, command.event_id):
                return
            match command:
                case ReserveStock():
                    reply = await self._reserve(connection, command)
                case ReleaseStock():
                    await self._release(connection, command)
                case _:
                    raise Fatal(f"{command.event_type} is not a command to the inventory")
        if reply is not None:
            mark_refusal(reply)

    async def _reserve(self, connection: AsyncConnection, command: ReserveStock) -> Message | None:
        """Decide, or repeat what was decided, and return the reply; None if it comes later."""
        held = await store.hold(connection, command, command.payload.step)
        asked = replace(held, command_id=command.payload.command_id, sequence=command.sequence)
        match ACTIONS[held.state, ReservationRequest.RESERVE]:
            case ReservationAction.DECIDE:
                first = replace(asked, quantities=wanted(command.payload.items), trace_context=capture())
                return await self._decide(connection, first)
            case ReservationAction.AWAIT:
                await store.answer_later(connection, asked)
                return None
            case _:
                reply = reserved_or_rejected(asked)
                await self._outbox.add(connection, topics.SAGA_REPLIES, reply)
                return reply

    async def _decide(self, connection: AsyncConnection, first: ReservationRow) -> Message | None:
        delay_s = self._plan.delay_of(first.quantities)
        if not delay_s:
            return await settle(connection, self._outbox, first, self._plan)
        await store.save(connection, replace(first, state=ReservationState.PENDING), due_in_s=delay_s)
        return None

    async def _release(self, connection: AsyncConnection, command: ReleaseStock) -> None:
        held = await store.hold(connection, command, command.payload.step)
        link_compensated(held.trace_context)
        action = ACTIONS[held.state, ReservationRequest.RELEASE]
        if action is ReservationAction.GIVE_BACK:
            await store.give_back(connection, held)
        if action is not ReservationAction.NOTHING:
            await store.save(connection, replace(held, state=ReservationState.RELEASED))
        await self._outbox.add(connection, topics.SAGA_REPLIES, released(command))


async def settle(connection: AsyncConnection, outbox: Outbox, held: ReservationRow, plan: FailurePlan) -> Message:
    """Decide a locked reservation by the stock, take what it reserves, reply, and return the reply."""
    available = await store.hold_stock(connection, held.quantities, plan)
    decision = decide(held.quantities, available)
    decided = replace(held, state=decision.state, reason=decision.reason)
    if decided.state is ReservationState.RESERVED:
        await store.take(connection, decided)
    await store.save(connection, decided)
    reply = reserved_or_rejected(decided)
    await outbox.add(connection, topics.SAGA_REPLIES, reply)
    return reply
