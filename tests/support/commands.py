"""Commands as the orchestrator sends them: each call is another attempt, of the same saga by default."""

from services.contracts import Item, Money, new_id
from services.contracts.commands import (
    Charge,
    ChargePayment,
    Command,
    RefundPayment,
    ReleaseStock,
    Reservation,
    ReserveStock,
    Step,
)

EUR_10 = Money(amount=1000, currency="EUR")


def reserve(saga: str = "saga-1", *, sku: str = "sku_a", quantity: int = 1, attempt: int = 1) -> ReserveStock:
    """Ask for stock."""
    items = (Item(sku=sku, quantity=quantity, unit_price=EUR_10),)
    payload = Reservation(command_id=new_id(), step=Step.RESERVE, attempt=attempt, items=items)
    return ReserveStock(saga_id=saga, order_id=f"order-of-{saga}", sequence=1, payload=payload)


def release(saga: str = "saga-1") -> ReleaseStock:
    """Ask to give stock back."""
    payload = Command(command_id=new_id(), step=Step.RESERVE)
    return ReleaseStock(saga_id=saga, order_id=f"order-of-{saga}", sequence=2, payload=payload)


def charge(saga: str = "saga-1", *, method: str = "pm_ok", total: Money = EUR_10) -> ChargePayment:
    """Ask for money."""
    payload = Charge(command_id=new_id(), step=Step.CHARGE, total=total, payment_method=method)
    return ChargePayment(saga_id=saga, order_id=f"order-of-{saga}", sequence=2, payload=payload)


def refund(saga: str = "saga-1") -> RefundPayment:
    """Ask to pay money back."""
    payload = Command(command_id=new_id(), step=Step.CHARGE)
    return RefundPayment(saga_id=saga, order_id=f"order-of-{saga}", sequence=3, payload=payload)
