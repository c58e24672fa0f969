"""The payment service's replies, each to the command that it names."""

from __future__ import annotations

from services.contracts import Message
from services.contracts.commands import ChargePayment, RefundPayment
from services.contracts.replies import Answer, PaymentCharged, PaymentDeclined, PaymentRefunded, Refusal
from services.payment.charge import refusal
from services.payment.store import ChargeRow


def charged_or_declined(command: ChargePayment, charge: ChargeRow) -> Message:
    """Return the reply to a charge, by where it stands."""
    saga_id, order_id, sequence = command.saga_id, command.order_id, command.sequence
    command_id, step = command.payload.command_id, command.payload.step
    reason = refusal(charge.state, charge.reason)
    if reason is None:
        answer = Answer(command_id=command_id, step=step)
        return PaymentCharged(saga_id=saga_id, order_id=order_id, sequence=sequence, payload=answer)
    declined = Refusal(command_id=command_id, step=step, reason=reason)
    return PaymentDeclined(saga_id=saga_id, order_id=order_id, sequence=sequence, payload=declined)


def refunded(command: RefundPayment) -> Message:
    """Return the reply to a refund: nothing is charged any more, whatever was."""
    return PaymentRefunded(
        saga_id=command.saga_id,
        order_id=command.order_id,
        sequence=command.sequence,
        payload=Answer(command_id=command.payload.command_id, step=command.payload.step),
    )
