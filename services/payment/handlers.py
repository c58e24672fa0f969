"""Commands to the payment service: ask the gateway first, then record and reply in one transaction.

The gateway is outside our transaction. A crash after its commit and before ours leaves the command unprocessed; it
comes again, and the gateway answers the same key with the same outcome.
"""

from __future__ import annotations

from dataclasses import replace

from services.contracts import Message, topics
from services.contracts.commands import ChargePayment, Command, RefundPayment
from services.messaging.errors import Fatal, Transient
from services.messaging.outbox import Outbox
from services.messaging.storage import Database, Inbox
from services.messaging.trace_context import capture, link_compensated, mark_refusal
from services.payment import store
from services.payment.charge import ACTIONS, ChargeAction, ChargeRequest, ChargeState, idempotency_key
from services.payment.gateway import Gateway, GatewayAnswer
from services.payment.replies import charged_or_declined, refunded
from services.payment.store import ChargeRow
from services.payment.writes import PaymentWrite


class PaymentHandler:
    """Handles the commands of `oms.payment.commands`."""

    def __init__(self, database: Database, inbox: Inbox, outbox: Outbox, gateway: Gateway) -> None:
        self._database = database
        self._inbox = inbox
        self._outbox = outbox
        self._gateway = gateway

    async def __call__(self, command: Message) -> None:
        """Carry out one command.

        Raises:
            Fatal: the message is not a command to the payment service.
            Transient: the gateway is busy.
            Unavailable: the database can't be reached.
        """
        match command:
            case ChargePayment():
                await self._charge(command)
            case RefundPayment():
                await self._refund(command)
            case _:
                raise Fatal(f"{command.event_type} is not a command to the payment service")

    async def _charge(self, command: ChargePayment) -> None:
        outcome = None
        if await self._action_for(command, ChargeRequest.CHARGE) is ChargeAction.CHARGE:
            key = idempotency_key(command.saga_id, command.payload.step)
            outcome = await self._gateway.charge(key, command.payload.total, command.payload.payment_method)
        async with self._database.transaction(PaymentWrite.CHARGE) as connection:
            if not await self._inbox.first_delivery(connection, command.event_id):
                return
            charge = await store.hold(connection, command, command.payload.step)
            if ACTIONS[charge.state, ChargeRequest.CHARGE] is ChargeAction.CHARGE:
                charge = _decided(charge, command, outcome)
                await store.save(connection, charge)
            reply = charged_or_declined(command, charge)
            await self._outbox.add(connection, topics.SAGA_REPLIES, reply)
        mark_refusal(reply)

    async def _refund(self, command: RefundPayment) -> None:
        if await self._action_for(command, ChargeRequest.REFUND) is ChargeAction.REFUND:
            await self._gateway.refund(idempotency_key(command.saga_id, command.payload.step))
        async with self._database.transaction(PaymentWrite.REFUND) as connection:
            if not await self._inbox.first_delivery(connection, command.event_id):
                return
            charge = await store.hold(connection, command, command.payload.step)
            link_compensated(charge.trace_context)
            if ACTIONS[charge.state, ChargeRequest.REFUND] is ChargeAction.REFUND:
                await store.save(connection, replace(charge, state=ChargeState.REFUNDED))
            await self._outbox.add(connection, topics.SAGA_REPLIES, refunded(command))

    async def _action_for(self, command: ChargePayment | RefundPayment, request: ChargeRequest) -> ChargeAction:
        """Return what is to be done; the gateway takes repeats, so this needs no lock."""
        payload: Command = command.payload
        async with self._database.reading() as connection:
            return ACTIONS[await store.state_of(connection, command.saga_id, payload.step), request]


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
