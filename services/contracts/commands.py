"""Commands: what the orchestrator asks a participant to do.

`command_id` is new for every attempt and only matches the reply; what a participant does is keyed by (saga_id, step).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from services.contracts.envelope import V1, Identifier, Item, Message, Money, Value


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
    """Reserve stock for an order.

    Example:
        {"command_id": "0195f2c0-7b1a-7c00-8000-000000000001", "step": "reserve", "attempt": 1,
         "items": [{"sku": "sku_ok", "quantity": 2, "unit_price": {"amount": 150, "currency": "EUR"}}]}
    """

    event_type: Literal["inventory.reserve"] = "inventory.reserve"
    schema_version: V1 = 1
    payload: Reservation


class ReleaseStock(Message):
    """Release what was reserved for an order, if anything was.

    Example:
        {"command_id": "0195f2c0-7b1a-7c00-8000-000000000001", "step": "reserve", "attempt": 1}
    """

    event_type: Literal["inventory.release"] = "inventory.release"
    schema_version: V1 = 1
    payload: Command


class ChargePayment(Message):
    """Charge an order's payment: the pivot of the saga.

    Example:
        {"command_id": "0195f2c0-7b1a-7c00-8000-000000000001", "step": "charge", "attempt": 1,
         "total": {"amount": 300, "currency": "EUR"}, "payment_method": "pm_ok"}
    """

    event_type: Literal["payment.charge"] = "payment.charge"
    schema_version: V1 = 1
    payload: Charge


class RefundPayment(Message):
    """Pay back what was charged for an order, if anything was.

    Example:
        {"command_id": "0195f2c0-7b1a-7c00-8000-000000000001", "step": "charge", "attempt": 1}
    """

    event_type: Literal["payment.refund"] = "payment.refund"
    schema_version: V1 = 1
    payload: Command


UNDOES = {"inventory.release": "inventory.reserve", "payment.refund": "payment.charge"}
"""The commands that compensate, and the step that each undoes."""
