"""The rows of the orchestrator as frozen values, and the pure rules by which a saga's row changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from services.contracts import Item, Money, new_id
from services.oms.effects import Facts
from services.oms.saga import COMMANDS, ENDS, Effect, Input, Move, SagaState, Status, newest, status_of

REASONS = {
    Input.CANCEL: "canceled_by_request",
    Input.REFUND: "refunded_by_request",
    Input.GAVE_UP: "no_answer",
}
"""Why a saga turned back, where no participant's answer says it."""


@dataclass(frozen=True, slots=True)
class SagaFilter:
    """Which sagas: of any of these statuses and states (all if there are none), that have not moved for `idle_s`."""

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


@dataclass(frozen=True, slots=True)
class Saga:
    """A saga's row.

    `command_id` is the attempt whose answer is awaited; `deadline` runs only from the broker's acknowledgement of that
    command. `requested` is the one cancel or refund that was accepted. `phase_began_at` is when the life began that the
    next summary span shows: the order's, or a later refund's. `trace_context` is where a span without a live parent
    goes on.
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
    created_at: datetime
    updated_at: datetime
    phase_began_at: datetime
    ended_at: datetime | None

    @property
    def status(self) -> Status:
        """The saga's state in one word."""
        return status_of(self.definition, self.state, needs_attention=self.needs_attention)

    def awaits(self, command_id: UUID) -> bool:
        """Tell whether an answer to this command is the one that is awaited."""
        return self.command_id == command_id

    def moved(self, by: Input, move: Move, *, reason: str | None, at: datetime) -> Saga:
        """Give the row as it is after a move.

        A command gets an id of its own for every attempt. Asking for attention keeps the id, so that a late answer
        still counts.
        """
        commands = COMMANDS.intersection(move.effects)
        again = bool(commands) and by is Input.TIMED_OUT
        asks = Effect.ASK_ATTENTION in move.effects
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
            updated_at=at,
            phase_began_at=at if by is Input.REFUND else self.phase_began_at,
            ended_at=at if move.state in ENDS else None,
        )


@dataclass(frozen=True, slots=True)
class LockedSaga:
    """A saga whose row the caller's transaction holds or will insert, its order, and the time by the database."""

    saga: Saga
    order: Order
    at: datetime


def new_saga(order: Order, trace_context: dict[str, str], at: datetime) -> LockedSaga:
    """Make a saga that has not begun, pinned to the newest definition; its first move writes its row."""
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
        created_at=at,
        updated_at=at,
        phase_began_at=at,
        ended_at=None,
    )
    return LockedSaga(saga, order, at)


def facts_of(saga: Saga, order: Order) -> Facts:
    """Collect what the messages of a saga's latest move say."""
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
    )
