"""Commands to the inventory: inbox, locked reservations, action by the table and reply.

Commands that wait share a transaction: their rows are read together, each is decided in turn in memory, and what all
of them did is written together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

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
    Shelf,
    wanted,
)
from services.inventory.store import ReservationRow
from services.inventory.writes import InventoryWrite
from services.messaging.errors import Fatal
from services.messaging.outbox import NewRow, Outbox
from services.messaging.storage import Database, GroupCommit, Inbox, Member
from services.messaging.trace_context import capture, link_compensated, mark_refusal

Command = ReserveStock | ReleaseStock


@dataclass(slots=True)
class _Asked:
    """A command, and the reply to it, once it is decided."""

    command: Command
    reply: Message | None = None

    @property
    def event_id(self) -> UUID:
        """The command's event id, for the inbox."""
        return self.command.event_id

    @property
    def saga_id(self) -> str:
        """The command's saga, which the reservation belongs to."""
        return self.command.saga_id


@dataclass(frozen=True, slots=True)
class Done:
    """What a command came to: the reservation, if it is to be written, and the reply with its row, if it is known."""

    reservation: ReservationRow | None = None
    reply: Message | None = None
    row: NewRow | None = None


class StockHandler:
    """Handles the commands of `oms.inventory.commands`."""

    def __init__(self, database: Database, inbox: Inbox, outbox: Outbox, plan: FailurePlan) -> None:
        self._database = database
        self._inbox = inbox
        self._outbox = outbox
        self._plan = plan
        self._commits = GroupCommit(self._carry_out, key=lambda asked: asked.saga_id)

    async def __call__(self, command: Message) -> None:
        """Carry out one command.

        Raises:
            Fatal: the message is not a command to the inventory.
            Unavailable: the database can't be reached.
        """
        if not isinstance(command, Command):
            raise Fatal(f"{command.event_type} is not a command to the inventory")
        asked = _Asked(command)
        await self._commits.add(asked)
        if asked.reply is not None:
            mark_refusal(asked.reply)

    async def _carry_out(self, commands: Sequence[Member[_Asked]]) -> None:
        async with self._database.transaction(InventoryWrite.STOCK) as connection:
            first = await self._inbox.first_deliveries(connection, commands)
            if not first:
                return
            held = await store.hold(connection, [member.item.command for member in first])
            shelf = await store.hold_stock(connection, self._skus(first, held), self._plan)
            done = [member.run(self._decide, member.item, held[member.item.saga_id], shelf) for member in first]
            await write(connection, self._outbox, done, shelf)

    def _skus(self, commands: Iterable[Member[_Asked]], held: Mapping[str, ReservationRow]) -> set[str]:
        """Return the SKUs that the commands may move, if any of them depends on what there is."""
        skus: set[str] = set()
        is_asked = False
        for member in commands:
            command, reservation = member.item.command, held[member.item.saga_id]
            action = _action(command, reservation)
            if action is ReservationAction.DECIDE and isinstance(command, ReserveStock):
                quantities = wanted(command.payload.items)
                if not self._plan.delay_of(quantities):
                    is_asked = True
                    skus.update(quantities)
            elif action is ReservationAction.GIVE_BACK:
                skus.update(reservation.quantities)
        return skus if is_asked else set()

    def _decide(self, asked: _Asked, held: ReservationRow, shelf: Shelf) -> Done:
        command = asked.command
        if isinstance(command, ReserveStock):
            done = self._reserve(command, held, shelf)
        else:
            done = self._release(command, held, shelf)
        asked.reply = done.reply
        return done

    def _reserve(self, command: ReserveStock, held: ReservationRow, shelf: Shelf) -> Done:
        asked = replace(held, command_id=command.payload.command_id, sequence=command.sequence)
        match _action(command, held):
            case ReservationAction.DECIDE:
                first = replace(asked, quantities=wanted(command.payload.items), trace_context=capture())
                delay_s = self._plan.delay_of(first.quantities)
                if not delay_s:
                    return settle(self._outbox, first, shelf)
                due_at = held.created_at + timedelta(seconds=delay_s)
                return Done(replace(first, state=ReservationState.PENDING, due_at=due_at))
            case ReservationAction.AWAIT:
                return Done(asked)
            case _:
                return _replied(self._outbox, None, reserved_or_rejected(asked))

    def _release(self, command: ReleaseStock, held: ReservationRow, shelf: Shelf) -> Done:
        link_compensated(held.trace_context)
        action = _action(command, held)
        if action is ReservationAction.GIVE_BACK:
            shelf.give_back(held.saga_id, held.step, held.quantities)
        is_new = action is not ReservationAction.NOTHING
        undone = replace(held, state=ReservationState.RELEASED, due_at=None) if is_new else None
        return _replied(self._outbox, undone, released(command))


def settle(outbox: Outbox, held: ReservationRow, shelf: Shelf) -> Done:
    """Decide a reservation by the stock, and take what it reserves."""
    decision = shelf.decide(held.quantities)
    decided = replace(held, state=decision.state, reason=decision.reason, due_at=None)
    if decided.state is ReservationState.RESERVED:
        shelf.take(held.saga_id, held.step, held.quantities)
    return _replied(outbox, decided, reserved_or_rejected(decided))


async def write(connection: AsyncConnection, outbox: Outbox, done: Sequence[Done], shelf: Shelf) -> None:
    """Write what commands came to: stock, reservations and replies."""
    await store.write_movements(connection, shelf)
    await store.save(connection, [one.reservation for one in done if one.reservation is not None])
    await outbox.insert(connection, [one.row for one in done if one.row is not None])


def _replied(outbox: Outbox, reservation: ReservationRow | None, reply: Message) -> Done:
    return Done(reservation, reply, outbox.row_of(topics.SAGA_REPLIES, reply))


def _action(command: Command, held: ReservationRow) -> ReservationAction:
    request = ReservationRequest.RESERVE if isinstance(command, ReserveStock) else ReservationRequest.RELEASE
    return ACTIONS[held.state, request]
