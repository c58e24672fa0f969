"""The payment's rules, pure: what becomes of a charge when a command arrives.

A charge is known by (saga_id, step), as a reservation is. Its outcome comes from a gateway outside of our transaction,
so there are two tables' worth of truth, kept in step by one idempotency key:

- what we know is decided (charged, declined, refunded) is answered again, and the gateway is not asked;
- what we do not know is asked of the gateway by the same key, as often as it takes: a crash between the gateway's
  commit and ours is healed by asking again;
- a refund of what we never charged still goes to the gateway, which then refuses the key for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

UNDONE = "undone"


class State(StrEnum):
    """Where a charge stands."""

    NEW = "new"
    CHARGED = "charged"
    DECLINED = "declined"
    REFUNDED = "refunded"


class Ask(StrEnum):
    """What a command asks."""

    CHARGE = "charge"
    REFUND = "refund"


class Act(StrEnum):
    """What is done for an ask before it is answered."""

    CHARGE = "charge"
    REFUND = "refund"
    NOTHING = "nothing"


ACTS: Mapping[tuple[State, Ask], Act] = {
    (State.NEW, Ask.CHARGE): Act.CHARGE,
    (State.CHARGED, Ask.CHARGE): Act.NOTHING,
    (State.DECLINED, Ask.CHARGE): Act.NOTHING,
    (State.REFUNDED, Ask.CHARGE): Act.NOTHING,
    (State.NEW, Ask.REFUND): Act.REFUND,
    (State.CHARGED, Ask.REFUND): Act.REFUND,
    (State.DECLINED, Ask.REFUND): Act.NOTHING,
    (State.REFUNDED, Ask.REFUND): Act.NOTHING,
}


def idempotency_key(saga_id: str, step: str) -> str:
    """Name the one charge of a saga's step, to the gateway."""
    return f"{saga_id}:{step}"


def refusal(state: State, reason: str | None) -> str | None:
    """Tell why a charge is refused in this state; None if the payment is charged."""
    if state is State.REFUNDED:
        return UNDONE
    return reason if state is State.DECLINED else None
