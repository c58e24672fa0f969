"""Replies: a participant's answer, naming the command (the attempt) that it answers."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from services.contracts.commands import Step
from services.contracts.envelope import V1, Identifier, Message, Value


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
    """The stock is reserved.

    Example:
        {"command_id": "0195f2c0-7b1a-7c00-8000-000000000001", "step": "reserve"}
    """

    event_type: Literal["inventory.reserved"] = "inventory.reserved"
    schema_version: V1 = 1
    payload: Answer


class StockRejected(Message):
    """The stock is not reserved and will not be.

    Example:
        {"command_id": "0195f2c0-7b1a-7c00-8000-000000000001", "step": "reserve", "reason": "out_of_stock"}
    """

    event_type: Literal["inventory.rejected"] = "inventory.rejected"
    schema_version: V1 = 1
    payload: Refusal


class StockReleased(Message):
    """Nothing is reserved for this saga any more, and nothing will be.

    Example:
        {"command_id": "0195f2c0-7b1a-7c00-8000-000000000001", "step": "reserve"}
    """

    event_type: Literal["inventory.released"] = "inventory.released"
    schema_version: V1 = 1
    payload: Answer


class PaymentCharged(Message):
    """The payment is charged.

    Example:
        {"command_id": "0195f2c0-7b1a-7c00-8000-000000000001", "step": "charge"}
    """

    event_type: Literal["payment.charged"] = "payment.charged"
    schema_version: V1 = 1
    payload: Answer


class PaymentDeclined(Message):
    """The payment is not charged and will not be.

    Example:
        {"command_id": "0195f2c0-7b1a-7c00-8000-000000000001", "step": "charge", "reason": "declined"}
    """

    event_type: Literal["payment.declined"] = "payment.declined"
    schema_version: V1 = 1
    payload: Refusal


class PaymentRefunded(Message):
    """Nothing is charged for this saga any more, and nothing will be.

    Example:
        {"command_id": "0195f2c0-7b1a-7c00-8000-000000000001", "step": "charge"}
    """

    event_type: Literal["payment.refunded"] = "payment.refunded"
    schema_version: V1 = 1
    payload: Answer


class CommandDeadLettered(Message):
    """The command could not be processed, and nobody knows how much of it was done: an operator may re-drive it.

    Example:
        {"command_id": "0195f2c0-7b1a-7c00-8000-000000000001", "step": "charge", "reason": "dead_lettered"}
    """

    event_type: Literal["command.dead_lettered"] = "command.dead_lettered"
    schema_version: V1 = 1
    payload: Refusal
