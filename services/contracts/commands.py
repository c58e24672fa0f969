"""Commands: what the orchestrator asks a participant to do.

`command_id` is new for every attempt and only matches the reply; what a participant does is keyed by (saga_id, step).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from services.contracts.envelope import Identifier, Item, Message, Money, Value


class Step(StrEnum):
    """The forward steps of the saga, which also name what a compensation undoes."""

    RESERVE = "reserve"
    CHARGE = "charge"


class Command(Value):
    """What every command carries: which attempt at which step this is (attempts count from 1)."""

    command_id: UUID
    step: Step
    attempt: Annotated[int, Field(ge=1)] = 1


class Reservation(Command):
    """The lines whose stock is to be reserved."""

    items: tuple[Item, ...]


class Charge(Command):
    """The amount to charge, and the token of the payment method (never a card number)."""

    total: Money
    payment_method: Identifier


class ReserveStock(Message):
    """Reserve stock for an order."""

    event_type: Literal["inventory.reserve"] = "inventory.reserve"
    payload: Reservation


class ReleaseStock(Message):
    """Release what was reserved for an order, if anything was."""

    event_type: Literal["inventory.release"] = "inventory.release"
    payload: Command


class ChargePayment(Message):
    """Charge an order's payment: the pivot of the saga."""

    event_type: Literal["payment.charge"] = "payment.charge"
    payload: Charge


class RefundPayment(Message):
    """Pay back what was charged for an order, if anything was."""

    event_type: Literal["payment.refund"] = "payment.refund"
    payload: Command


UNDOES = {"inventory.release": "inventory.reserve", "payment.refund": "payment.charge"}
"""The commands that compensate, and the step that each undoes."""
