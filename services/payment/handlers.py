"""Commands to the payment service: ask the gateway first, then record and reply in one transaction.

The gateway is outside our transaction. A crash after its commit and before ours leaves the command unprocessed; it
comes again, and the gateway answers the same key with the same outcome.

Commands that wait share a look-up and a transaction. Each asks the gateway by itself, side by side with the others, so
a slow answer holds up its own key only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts import Message, topics
from services.contracts.commands import ChargePayment, RefundPayment
from services.messaging.errors import Fatal, Transient
from services.messaging.outbox import NewRow, Outbox
from services.messaging.storage import Database, GroupCommit, Inbox, Member
from services.messaging.trace_context import capture, link_compensated, mark_refusal
from services.payment import store
from services.payment.charge import ACTIONS, ChargeAction, ChargeRequest, ChargeState, idempotency_key
from services.payment.gateway import Gateway, GatewayAnswer
from services.payment.replies import charged_or_declined, refunded
from services.payment.store import ChargeRow
from services.payment.writes import PaymentWrite

Command = ChargePayment | RefundPayment


@dataclass
class _Payment:
    """A command, and what is known about it before its transaction."""

    command: Command
    state: ChargeState = ChargeState.NEW
    outcome: GatewayAnswer | None = None
    reply: Message | None = None

    @property
    def event_id(self) -> UUID:
        """The command's event id, for the inbox."""
        return self.command.event_id

    @property
    def saga_id(self) -> str:
        """The command's saga, which the charge belongs to."""
        return self.command.saga_id

    @property
    def action(self) -> ChargeAction:
        """What is to be done, by what was looked up."""
        return _action(self.command, self.state)


@dataclass(frozen=True)
class _Done:
    """What a command came to: the charge, if it is to be written, and the reply."""

    charge: ChargeRow | None
    reply: NewRow


class PaymentHandler:
    """Handles the commands of `oms.payment.commands`."""

    def __init__(self, database: Database, inbox: Inbox, outbox: Outbox, gateway: Gateway) -> None:
        self._database = database
        self._inbox = inbox
        self._outbox = outbox
        self._gateway = gateway
        self._lookups = GroupCommit(self._look_up, key=_saga_of)
        self._charges = GroupCommit(self._record_charges, key=_saga_of)
        self._refunds = GroupCommit(self._record_refunds, key=_saga_of)

    async def __call__(self, command: Message) -> None:
        """Carry out one command.

        Raises:
            Fatal: the message is not a command to the payment service.
            Transient: the gateway is busy.
            Unavailable: the database can't be reached.
        """
        if not isinstance(command, Command):
            raise Fatal(f"{command.event_type} is not a command to the payment service")
        payment = _Payment(command)
        await self._lookups.add(payment)
        await self._ask(payment)
        await (self._charges if isinstance(command, ChargePayment) else self._refunds).add(payment)
        if payment.reply is not None:
            mark_refusal(payment.reply)

    async def _look_up(self, payments: Sequence[Member[_Payment]]) -> None:
        """Read where the charges stand; the gateway takes repeats, so this needs no lock."""
        async with self._database.reading() as connection:
            states = await store.states_of(connection, [member.item.saga_id for member in payments])
        for member in payments:
            command = member.item.command
            member.item.state = states.get((command.saga_id, command.payload.step), ChargeState.NEW)

    async def _ask(self, payment: _Payment) -> None:
        command, action = payment.command, payment.action
        key = idempotency_key(command.saga_id, command.payload.step)
        if isinstance(command, ChargePayment):
            if action is ChargeAction.CHARGE:
                total, method = command.payload.total, command.payload.payment_method
                payment.outcome = await self._gateway.charge(key, total, method)
        elif action is ChargeAction.REFUND:
            await self._gateway.refund(key)

    async def _record_charges(self, payments: Sequence[Member[_Payment]]) -> None:
        async with self._database.transaction(PaymentWrite.CHARGE) as connection:
            await self._record(connection, payments)

    async def _record_refunds(self, payments: Sequence[Member[_Payment]]) -> None:
        async with self._database.transaction(PaymentWrite.REFUND) as connection:
            await self._record(connection, payments)

    async def _record(self, connection: AsyncConnection, payments: Sequence[Member[_Payment]]) -> None:
        first = await self._inbox.first_deliveries(connection, payments)
        if not first:
            return
        held = await store.hold(connection, [member.item.command for member in first])
        done = [member.run(self._decide, member.item, held[member.item.saga_id]) for member in first]
        await store.save(connection, [one.charge for one in done if one.charge is not None])
        await self._outbox.insert(connection, [one.reply for one in done])

    def _decide(self, payment: _Payment, charge: ChargeRow) -> _Done:
        command = payment.command
        if isinstance(command, ChargePayment):
            changed = _charged(command, charge, payment.outcome)
            payment.reply = charged_or_declined(command, changed or charge)
        else:
            changed = _refunded(command, charge)
            payment.reply = refunded(command)
        return _Done(changed, self._outbox.row_of(topics.SAGA_REPLIES, payment.reply))


def _saga_of(payment: _Payment) -> str:
    return payment.saga_id


def _action(command: Command, state: ChargeState) -> ChargeAction:
    request = ChargeRequest.CHARGE if isinstance(command, ChargePayment) else ChargeRequest.REFUND
    return ACTIONS[state, request]


def _charged(command: ChargePayment, charge: ChargeRow, outcome: GatewayAnswer | None) -> ChargeRow | None:
    """Return the charge as the gateway has decided it; None if it was decided before."""
    return _decided(charge, command, outcome) if _action(command, charge.state) is ChargeAction.CHARGE else None


def _refunded(command: RefundPayment, charge: ChargeRow) -> ChargeRow | None:
    """Return the charge as refunded; None if nothing is charged any more."""
    link_compensated(charge.trace_context)
    is_new = _action(command, charge.state) is ChargeAction.REFUND
    return replace(charge, state=ChargeState.REFUNDED) if is_new else None


def _decided(charge: ChargeRow, command: ChargePayment, outcome: GatewayAnswer | None) -> ChargeRow:
    """Return a new charge with the gateway's outcome in it.

    Raises:
        Transient: the charge was decided when it was looked up, so the gateway was not asked, and is new again.
    """
    if outcome is None:
        raise Transient("the charge was pruned while its command was being processed")
    state = ChargeState.CHARGED if outcome.refused_for is None else ChargeState.DECLINED
    amount = command.payload.total
    return replace(charge, state=state, reason=outcome.refused_for, amount=amount, trace_context=capture())
