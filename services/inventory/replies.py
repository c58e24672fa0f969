"""The inventory's replies, each to the command that it names."""

from __future__ import annotations

from services.contracts import Message
from services.contracts.commands import ReleaseStock
from services.contracts.replies import Answer, Refusal, StockRejected, StockReleased, StockReserved
from services.inventory.stock import refusal
from services.inventory.store import ReservationRow


def reserved_or_rejected(asked: ReservationRow) -> Message:
    """Return the reply to a reserve, by the state of its reservation.

    Raises:
        ValueError: no command awaits a reply.
    """
    if asked.command_id is None or asked.sequence is None:
        raise ValueError(f"no command awaits an answer about the reservation of saga {asked.saga_id}")
    saga_id, order_id, sequence = asked.saga_id, asked.order_id, asked.sequence
    reason = refusal(asked.state, asked.reason)
    if reason is None:
        answer = Answer(command_id=asked.command_id, step=asked.step)
        return StockReserved(saga_id=saga_id, order_id=order_id, sequence=sequence, payload=answer)
    rejected = Refusal(command_id=asked.command_id, step=asked.step, reason=reason)
    return StockRejected(saga_id=saga_id, order_id=order_id, sequence=sequence, payload=rejected)


def released(command: ReleaseStock) -> Message:
    """Return the reply to a release: nothing is reserved any more, whatever was."""
    return StockReleased(
        saga_id=command.saga_id,
        order_id=command.order_id,
        sequence=command.sequence,
        payload=Answer(command_id=command.payload.command_id, step=command.payload.step),
    )
