"""The rows of the orchestrator as frozen values, and the pure rules by which a saga's row changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from services.contracts import Item, Money, new_id
from services.contracts.events import DeliveryWindow
from services.contracts.replies import REFUSALS
from services.oms.effects import Facts
from services.oms.saga import COMMANDS, ENDS, Effect, Input, Move, SagaState, Status, is_back, newest, status_of

REASONS = {
    Input.CANCEL: "canceled_by_request",
    Input.REFUND: "refunded_by_request",
    Input.GAVE_UP: "no_answer",
}
"""Why a saga turned back, where no participant's reply gives the reason."""

FAILURES = REFUSALS | {REASONS[Input.GAVE_UP]}
"""The reasons for which sagas of this version fail."""


@dataclass(frozen=True, slots=True)
class SagaFilter:
    """Which sagas: of any of these statuses and states (all if empty), idle for at least `idle_s` seconds."""

    statuses: tuple[Status, ...] = ()
    states: tuple[SagaState, ...] = ()
    idle_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Order:
    """What was ordered; it never changes."""

    order_id: str
    customer_id: str
    items: tuple[Item, ...]
    total: Money
    payment_method: str
    #: None if any time will do.
    delivery_window: DeliveryWindow | None = None


@dataclass(frozen=True, slots=True)
class Saga:
    """A saga's row.

    `command_id` names the attempt whose reply is awaited; `deadline` is set when the broker has acknowledged that
    command. `requested` is the cancel or refund that was accepted. `phase_began_at` is where the next summary span
    starts: with the order, or with a later refund. `trace_context` is that of the entry, the parent of requests,
    timeouts and steps; `turn_context` that of the cancel, refund or timeout that turned the saga back, if one did: it
    is the parent of the steps from there on.
    """

    saga_id: str
    order_id: str
    definition: int
    state: SagaState
    version: int
    attempt: int
    command_id: UUID | None
    deadline: datetime | None
    needs_attention: bool
    requested: Input | None
    reason: str | None
    trace_context: dict[str, str]
    turn_context: dict[str, str] | None
    created_at: datetime
    updated_at: datetime
    phase_began_at: datetime
    ended_at: datetime | None

    @property
    def status(self) -> Status:
        """The saga's state, summed up for people."""
        return status_of(self.definition, self.state, needs_attention=self.needs_attention)

    @property
    def steps_context(self) -> dict[str, str]:
        """The context below which the saga's next steps stand."""
        return self.turn_context or self.trace_context

    def awaits(self, command_id: UUID) -> bool:
        """Return whether the saga awaits a reply to this command."""
        return self.command_id == command_id

    def moved(
        self, by: Input, move: Move, *, reason: str | None, at: datetime, context: dict[str, str] | None = None
    ) -> Saga:
        """Return the row as it is after a move; `context` is that of the request or the timer, None for an answer.

        Every attempt's command gets a new id. Asking for attention keeps the id, so that a late reply still counts.
        """
        commands = COMMANDS.intersection(move.effects)
        again = bool(commands) and by is Input.TIMED_OUT
        asks = Effect.ASK_ATTENTION in move.effects
        turns = is_back(self.definition, move.state) and not is_back(self.definition, self.state)
        return replace(
            self,
            state=move.state,
            version=self.version + 1,
            attempt=self.attempt + 1 if again else self.attempt if asks else 1,
            command_id=new_id() if commands else self.command_id if asks else None,
            deadline=None,
            needs_attention=asks,
            requested=by if by in (Input.CANCEL, Input.REFUND) else self.requested,
            reason=self.reason if again or asks else reason or REASONS.get(by) or self.reason,
            turn_context=context if turns else self.turn_context,
            updated_at=at,
            phase_began_at=at if by is Input.REFUND else self.phase_began_at,
            ended_at=at if move.state in ENDS else None,
        )


@dataclass(frozen=True, slots=True)
class LockedSaga:
    """A saga whose row the caller's transaction has locked or will insert, its order, and the database's time."""

    saga: Saga
    order: Order
    at: datetime


def new_saga(order: Order, trace_context: dict[str, str], at: datetime) -> LockedSaga:
    """Return a saga that has not begun, pinned to the newest definition; its first move writes its row."""
    saga = Saga(
        saga_id=str(new_id()),
        order_id=order.order_id,
        definition=newest(),
        state=SagaState.NEW,
        version=0,
        attempt=1,
        command_id=None,
        deadline=None,
        needs_attention=False,
        requested=None,
        reason=None,
        trace_context=trace_context,
        turn_context=None,
        created_at=at,
        updated_at=at,
        phase_began_at=at,
        ended_at=None,
    )
    return LockedSaga(saga, order, at)


def facts_of(saga: Saga, order: Order) -> Facts:
    """Return the data for the messages of a saga's latest move."""
    return Facts(
        saga_id=saga.saga_id,
        order_id=order.order_id,
        sequence=saga.version,
        customer_id=order.customer_id,
        items=order.items,
        total=order.total,
        payment_method=order.payment_method,
        command_id=saga.command_id or new_id(),
        attempt=saga.attempt,
        reason=saga.reason or "none",
        delivery_window=order.delivery_window,
    )
