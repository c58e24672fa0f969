"""The durable writes of the payment service, as its crash points name them."""

from __future__ import annotations

from enum import StrEnum


class PaymentWrite(StrEnum):
    """Every durable write of the payment service and of the simulated gateway, which has a ledger of its own."""

    GATEWAY_CHARGE = "gateway.charge"
    GATEWAY_REFUND = "gateway.refund"
    CHARGE = "charge"
    REFUND = "refund"
