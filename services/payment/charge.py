"""The payment's rules, pure: what becomes of a charge when a command arrives.

A charge is known by (saga_id, step), as a reservation is. Its outcome comes from a gateway outside our transaction, so
there are two records of it, kept in step by one idempotency key:

- what we know is decided (charged, declined, refunded) is answered again, and the gateway is not asked;
- what we do not know we ask the gateway by the same key, as often as it takes: a crash between the gateway's
  commit and ours is healed by asking again;
- a refund of what we never charged still goes to the gateway, which then refuses the key forever.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

UNDONE = "undone"


class ChargeState(StrEnum):
    """Where a charge stands."""

    NEW = "new"
    CHARGED = "charged"
    DECLINED = "declined"
    REFUNDED = "refunded"


class ChargeRequest(StrEnum):
    """What a command asks for."""

    CHARGE = "charge"
    REFUND = "refund"


class ChargeAction(StrEnum):
    """What is done for a request before the reply."""

    CHARGE = "charge"
    REFUND = "refund"
    NOTHING = "nothing"


ACTIONS: Mapping[tuple[ChargeState, ChargeRequest], ChargeAction] = {
    (ChargeState.NEW, ChargeRequest.CHARGE): ChargeAction.CHARGE,
    (ChargeState.CHARGED, ChargeRequest.CHARGE): ChargeAction.NOTHING,
    (ChargeState.DECLINED, ChargeRequest.CHARGE): ChargeAction.NOTHING,
    (ChargeState.REFUNDED, ChargeRequest.CHARGE): ChargeAction.NOTHING,
    (ChargeState.NEW, ChargeRequest.REFUND): ChargeAction.REFUND,
    (ChargeState.CHARGED, ChargeRequest.REFUND): ChargeAction.REFUND,
    (ChargeState.DECLINED, ChargeRequest.REFUND): ChargeAction.NOTHING,
    (ChargeState.REFUNDED, ChargeRequest.REFUND): ChargeAction.NOTHING,
}


def idempotency_key(saga_id: str, step: str) -> str:
    """Return the gateway's key for the one charge of a saga's step."""
    return f"{saga_id}:{step}"


def refusal(state: ChargeState, reason: str | None) -> str | None:
    """Return why a charge is refused in this state; None if the payment is charged."""
    if state is ChargeState.REFUNDED:
        return UNDONE
    return reason if state is ChargeState.DECLINED else None
