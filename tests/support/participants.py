"""Inventory and payment as the orchestrator sees them: each command is answered, and each step takes effect once."""

from dataclasses import dataclass, field
from typing import Any

from services.contracts import Message
from services.contracts.commands import Command
from tests.support.orders import OrderService, reply

_DOES = {"inventory.reserve": "inventory.reserved", "payment.charge": "payment.charged"}
_REFUSES = {"inventory.reserve": "inventory.rejected", "payment.charge": "payment.declined"}
_UNDOES = {"inventory.release": "inventory.reserve", "payment.refund": "payment.charge"}
_UNDONE = {"inventory.release": "inventory.released", "payment.refund": "payment.refunded"}


@dataclass
class Participants:
    """Keep the outcome of each (saga, step), and a tombstone for a step that was undone.

    Args:
        refuses: The commands that are refused.
    """

    refuses: frozenset[str] = frozenset()
    #: (saga, forward command) -> what was said to it.
    outcomes: dict[tuple[str, str], str] = field(default_factory=dict)
    undone: set[tuple[str, str]] = field(default_factory=set)

    def answer(self, command: Message) -> Message:
        """Carry out a command, once, and answer it."""
        kind = command.event_type
        if kind in _UNDOES:
            self.undone.add((command.saga_id, _UNDOES[kind]))
            return reply(_UNDONE[kind], command)
        step = (command.saga_id, kind)
        says = _REFUSES if kind in self.refuses or step in self.undone else _DOES
        said = self.outcomes.setdefault(step, says[kind])
        return reply(said, command, **({} if said in _DOES.values() else {"reason": "refused"}))

    def holds(self, saga_id: str) -> set[str]:
        """Return the steps that are done for a saga and not undone."""
        done = {step for step, said in self.outcomes.items() if said == _DOES[step[1]]}
        return {kind for saga, kind in done - self.undone if saga == saga_id}


async def commands(oms: OrderService, saga_id: str) -> list[Message]:
    """Read the commands of a saga, in order."""
    messages = await oms.messages()
    return [one for one in messages if one.saga_id == saga_id and isinstance(one.payload, Command)]


async def said(oms: OrderService, saga_id: str) -> list[str]:
    """Return the types of a saga's events, in order."""
    messages = await oms.messages()
    return [one.event_type for one in messages if one.saga_id == saga_id and not isinstance(one.payload, Command)]


def again(answer: Message, **changes: Any) -> Message:
    """Return another answer to the same command, as a participant does that receives it twice."""
    return type(answer).model_validate(
        {
            "saga_id": answer.saga_id,
            "order_id": answer.order_id,
            "sequence": answer.sequence,
            "payload": answer.payload,
            **changes,
        },
    )
