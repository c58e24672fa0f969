"""Replies: a participant's answer, naming the command (the attempt) that it answers."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from services.contracts.commands import Step
from services.contracts.envelope import Identifier, Message, Value


class Answer(Value):
    """The command that is answered, and the step it was about."""

    command_id: UUID
    step: Step


class Refusal(Answer):
    """An answer that says no, with a short code for the reason: `out_of_stock`, `declined`, `undone`."""

    reason: Identifier


REFUSALS = frozenset({"out_of_stock", "declined", "unknown_method", "undone", "dead_lettered"})
"""The reasons that this system's participants give; a participant of another version may give others."""


class StockReserved(Message):
    """The stock is reserved."""

    event_type: Literal["inventory.reserved"] = "inventory.reserved"
    payload: Answer


class StockRejected(Message):
    """The stock is not reserved and will not be."""

    event_type: Literal["inventory.rejected"] = "inventory.rejected"
    payload: Refusal


class StockReleased(Message):
    """Nothing is reserved for this saga any more, and nothing will be."""

    event_type: Literal["inventory.released"] = "inventory.released"
    payload: Answer


class PaymentCharged(Message):
    """The payment is charged."""

    event_type: Literal["payment.charged"] = "payment.charged"
    payload: Answer


class PaymentDeclined(Message):
    """The payment is not charged and will not be."""

    event_type: Literal["payment.declined"] = "payment.declined"
    payload: Refusal


class PaymentRefunded(Message):
    """Nothing is charged for this saga any more, and nothing will be."""

    event_type: Literal["payment.refunded"] = "payment.refunded"
    payload: Answer


class CommandDeadLettered(Message):
    """The command could not be processed, and nobody knows how much of it was done: an operator may re-drive it."""

    event_type: Literal["command.dead_lettered"] = "command.dead_lettered"
    payload: Refusal
