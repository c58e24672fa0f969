"""The saga as a table: (state, input) -> (state, effects), and the function that reads it.

Rules:

- Everything that decides where a saga goes is in `TABLE`. This file knows no broker, database or clock, and the state
  diagram in docs/saga.md is drawn from the table.
- The way forward is reserve, charge, confirm. The charge is the pivot: before its answer is applied a saga can be
  canceled, after it a saga can only be refunded.
- The way back undoes in reverse: the payment, then the stock. It is the same way for every reason to turn back
  (`_way_back` builds it three times), and each reason has its own end, so that a state tells where a saga is going.
- A definite no (rejected, declined) means that the step left nothing behind, so it is not undone. No answer in time
  means "maybe done", and so does a command that became a dead letter: the step is undone too, which a participant
  also accepts for what never happened.
- The way back never gives up for good. When its attempts are spent it asks for attention and stays where it is; an
  operator's retry, or the late answer, takes it on.
- An input that has no row is illegal: `step` raises and nothing changes.

A definition is pinned to each saga when it starts: a change of the rules is a new entry in `DEFINITIONS`, and sagas of
the older one end by the rules that they began with. An entry goes once no saga that it could still move is in a store.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class SagaState(StrEnum):
    """Where a saga is. A state named `x_y` is on its way back for reason x, waiting for step y to be undone."""

    NEW = "new"
    RESERVING = "reserving"
    CHARGING = "charging"
    COMPLETED = "completed"
    FAILING_REFUND = "failing_refund"
    FAILING_RELEASE = "failing_release"
    FAILED = "failed"
    CANCELING_REFUND = "canceling_refund"
    CANCELING_RELEASE = "canceling_release"
    CANCELED = "canceled"
    RETURNING_REFUND = "returning_refund"
    RETURNING_RELEASE = "returning_release"
    REFUNDED = "refunded"


class Input(StrEnum):
    """What can move a saga: a request, a participant's answer (named by its event type), the clock or an operator."""

    START = "start"
    CANCEL = "cancel"
    REFUND = "refund"
    RESERVED = "inventory.reserved"
    REJECTED = "inventory.rejected"
    RELEASED = "inventory.released"
    CHARGED = "payment.charged"
    DECLINED = "payment.declined"
    PAID_BACK = "payment.refunded"
    DEAD_LETTERED = "command.dead_lettered"
    TIMED_OUT = "timed_out"
    GAVE_UP = "gave_up"
    RETRY = "retry"


class Effect(StrEnum):
    """What a move causes: a message to send (named by its event type), or a call for an operator."""

    RESERVE = "inventory.reserve"
    RELEASE = "inventory.release"
    CHARGE = "payment.charge"
    PAY_BACK = "payment.refund"
    ORDER_CREATED = "order.created"
    ORDER_CONFIRMED = "order.confirmed"
    ORDER_CANCELED = "order.canceled"
    ORDER_REFUNDED = "order.refunded"
    SAGA_STARTED = "saga.started"
    SAGA_COMPLETED = "saga.completed"
    SAGA_FAILED = "saga.failed"
    SAGA_CANCELED = "saga.canceled"
    SAGA_REFUNDED = "saga.refunded"
    ASK_ATTENTION = "ask_attention"


COMMANDS = frozenset({Effect.RESERVE, Effect.RELEASE, Effect.CHARGE, Effect.PAY_BACK})
"""The effects that wait for an answer."""


ANSWERS = frozenset(
    {
        Input.RESERVED,
        Input.REJECTED,
        Input.RELEASED,
        Input.CHARGED,
        Input.DECLINED,
        Input.PAID_BACK,
        Input.DEAD_LETTERED,
    }
)
"""The inputs that are participants' answers."""


class Status(StrEnum):
    """What an operator or a customer wants to know about a saga."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    NEEDS_ATTENTION = "needs_attention"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    REFUNDED = "refunded"


class Move(NamedTuple):
    """One cell of the table: where the saga goes, and what that causes, in order."""

    state: SagaState
    effects: tuple[Effect, ...] = ()


class IllegalMove(Exception):
    """The saga's table has no row for this input in this state."""

    def __init__(self, state: SagaState, moved_by: Input) -> None:
        """Name the state and the input."""
        super().__init__(f"a saga that is {state} cannot take {moved_by}")
        self.state = state
        self.moved_by = moved_by


class MissingDefinition(Exception):
    """A saga is pinned to a definition that this program does not have: a newer or older version has it."""

    def __init__(self, definition: int) -> None:
        """Name the definition."""
        super().__init__(f"definition {definition} of the saga is not in this program")


Table = dict[tuple[SagaState, Input], Move]


def _asks(state: SagaState, command: Effect, *, gave_up: Move) -> Table:
    """Rows of a state that waits for a command's answer: ask again while attempts are left, then `gave_up`.

    A command that became a dead letter is not asked for again: it waits for an operator, and may have been done.
    """
    return {
        (state, Input.TIMED_OUT): Move(state, (command,)),
        (state, Input.GAVE_UP): gave_up,
        (state, Input.DEAD_LETTERED): gave_up,
    }


def _way_back(refunding: SagaState, releasing: SagaState, end: Move) -> Table:
    """Rows of one way back: the payment is undone, then the stock, then `end`."""
    rows: Table = {
        (refunding, Input.PAID_BACK): Move(releasing, (Effect.RELEASE,)),
        (releasing, Input.RELEASED): end,
    }
    for state, command in ((refunding, Effect.PAY_BACK), (releasing, Effect.RELEASE)):
        rows |= _asks(state, command, gave_up=Move(state, (Effect.ASK_ATTENTION,)))
        rows[state, Input.RETRY] = Move(state, (command,))
    return rows


_FAILED = Move(SagaState.FAILED, (Effect.ORDER_CANCELED, Effect.SAGA_FAILED))
_CANCELED = Move(SagaState.CANCELED, (Effect.ORDER_CANCELED, Effect.SAGA_CANCELED))
_REFUNDED = Move(SagaState.REFUNDED, (Effect.ORDER_REFUNDED, Effect.SAGA_REFUNDED))

TABLE: Table = {
    # forward
    (SagaState.NEW, Input.START): Move(
        SagaState.RESERVING, (Effect.ORDER_CREATED, Effect.SAGA_STARTED, Effect.RESERVE)
    ),
    (SagaState.RESERVING, Input.RESERVED): Move(SagaState.CHARGING, (Effect.CHARGE,)),
    (SagaState.RESERVING, Input.REJECTED): _FAILED,
    (SagaState.CHARGING, Input.CHARGED): Move(SagaState.COMPLETED, (Effect.ORDER_CONFIRMED, Effect.SAGA_COMPLETED)),
    (SagaState.CHARGING, Input.DECLINED): Move(SagaState.FAILING_RELEASE, (Effect.RELEASE,)),
    # turning back: no answer, or a request
    **_asks(SagaState.RESERVING, Effect.RESERVE, gave_up=Move(SagaState.FAILING_RELEASE, (Effect.RELEASE,))),
    **_asks(SagaState.CHARGING, Effect.CHARGE, gave_up=Move(SagaState.FAILING_REFUND, (Effect.PAY_BACK,))),
    (SagaState.RESERVING, Input.CANCEL): Move(SagaState.CANCELING_RELEASE, (Effect.RELEASE,)),
    (SagaState.CHARGING, Input.CANCEL): Move(SagaState.CANCELING_REFUND, (Effect.PAY_BACK,)),
    (SagaState.COMPLETED, Input.REFUND): Move(SagaState.RETURNING_REFUND, (Effect.PAY_BACK,)),
    # backward, once for each reason
    **_way_back(SagaState.FAILING_REFUND, SagaState.FAILING_RELEASE, _FAILED),
    **_way_back(SagaState.CANCELING_REFUND, SagaState.CANCELING_RELEASE, _CANCELED),
    **_way_back(SagaState.RETURNING_REFUND, SagaState.RETURNING_RELEASE, _REFUNDED),
}

DEFINITIONS: dict[int, Table] = {1: TABLE}
"""Every definition that a saga in a store may still be moved by; a new saga is pinned to the newest."""

ENDS = {
    SagaState.COMPLETED: Status.COMPLETED,
    SagaState.FAILED: Status.FAILED,
    SagaState.CANCELED: Status.CANCELED,
    SagaState.REFUNDED: Status.REFUNDED,
}
"""The states in which a saga waits for nothing, and what they mean, in every definition."""


def step(definition: int, state: SagaState, moved_by: Input) -> Move:
    """Return the move of a saga, by the definition that it is pinned to.

    Raises:
        IllegalMove: the table has no such row; the saga stays as it is.
        MissingDefinition: there is no such table.
    """
    if definition not in DEFINITIONS:
        raise MissingDefinition(definition)
    try:
        return DEFINITIONS[definition][state, moved_by]
    except KeyError:
        raise IllegalMove(state, moved_by) from None


def is_back(definition: int, state: SagaState) -> bool:
    """Return whether a saga in this state is on its way back, by its definition; False if that is missing."""
    return (state, Input.RETRY) in DEFINITIONS.get(definition, {})


def newest() -> int:
    """Return the definition that a new saga is pinned to."""
    return max(DEFINITIONS)


def status_of(definition: int, state: SagaState, *, needs_attention: bool) -> Status:
    """Return a state summed up for people."""
    if needs_attention:
        return Status.NEEDS_ATTENTION
    return ENDS.get(state) or (Status.COMPENSATING if is_back(definition, state) else Status.RUNNING)


def diagram(definition: int) -> str:
    """Return a definition as a Mermaid state diagram, without the rows that stay where they are."""
    rows = DEFINITIONS[definition].items()
    arrows = [f"    {state} --> {move.state}: {moved_by}" for (state, moved_by), move in rows if state != move.state]
    ends = [f"    {end} --> [*]" for end in ENDS]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {SagaState.NEW}", *arrows, *ends])
