"""The message of each effect in the saga's table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from services.contracts import Item, Message, Money, commands, events, new_id
from services.contracts.commands import Step
from services.contracts.envelope import Value
from services.contracts.events import DeliveryWindow
from services.oms.saga import COMMANDS, Effect


@dataclass(frozen=True, slots=True)
class Facts:
    """The data for the messages of one move: the saga's ids, its order, and the move itself.

    `command_id` is the id of the command that this move sends, if any; it is also that message's `event_id`.
    """

    saga_id: str
    order_id: str
    sequence: int
    customer_id: str
    items: tuple[Item, ...]
    total: Money
    payment_method: str
    command_id: UUID
    attempt: int
    reason: str
    delivery_window: DeliveryWindow | None = None


def _placed(facts: Facts) -> Value:
    return events.OrderPlaced(
        customer_id=facts.customer_id,
        items=facts.items,
        total=facts.total,
        delivery_window=facts.delivery_window,
    )


def _total(facts: Facts) -> Value:
    return events.OrderTotal(total=facts.total)


def _reason(facts: Facts) -> Value:
    return events.Reason(reason=facts.reason)


def _nothing(_: Facts) -> Value:
    return events.Nothing()


def _reservation(facts: Facts) -> Value:
    return commands.Reservation(
        command_id=facts.command_id,
        step=Step.RESERVE,
        attempt=facts.attempt,
        items=facts.items,
    )


def _charge(facts: Facts) -> Value:
    return commands.Charge(
        command_id=facts.command_id,
        step=Step.CHARGE,
        attempt=facts.attempt,
        total=facts.total,
        payment_method=facts.payment_method,
    )


def _undo(step: Step) -> Callable[[Facts], Value]:
    return lambda facts: commands.Command(command_id=facts.command_id, step=step, attempt=facts.attempt)


_MESSAGES: dict[Effect, tuple[type[Message], Callable[[Facts], Value]]] = {
    Effect.RESERVE: (commands.ReserveStock, _reservation),
    Effect.RELEASE: (commands.ReleaseStock, _undo(Step.RESERVE)),
    Effect.CHARGE: (commands.ChargePayment, _charge),
    Effect.PAY_BACK: (commands.RefundPayment, _undo(Step.CHARGE)),
    Effect.ORDER_CREATED: (events.OrderCreated, _placed),
    Effect.ORDER_CONFIRMED: (events.OrderConfirmed, _total),
    Effect.ORDER_CANCELED: (events.OrderCanceled, _reason),
    Effect.ORDER_REFUNDED: (events.OrderRefunded, _total),
    Effect.SAGA_STARTED: (events.SagaStarted, _nothing),
    Effect.SAGA_COMPLETED: (events.SagaCompleted, _nothing),
    Effect.SAGA_FAILED: (events.SagaFailed, _reason),
    Effect.SAGA_CANCELED: (events.SagaCanceled, _reason),
    Effect.SAGA_REFUNDED: (events.SagaRefunded, _reason),
}


def message_for(effect: Effect, facts: Facts) -> Message:
    """Return the message of one effect.

    Raises:
        KeyError: the effect sends no message.
    """
    model, payload_of = _MESSAGES[effect]
    return model.model_validate(
        {
            "event_id": facts.command_id if effect in COMMANDS else new_id(),
            "saga_id": facts.saga_id,
            "order_id": facts.order_id,
            "sequence": facts.sequence,
            "payload": payload_of(facts),
        },
    )
