"""The versions of each type of message: which model has which, and the way between an older one and the newest.

| a record says | what is done |
|---|---|
| the newest version | it is read |
| an older version whose model is kept | it is read by that model and taken up, a step at a time, to the newest |
| any other version | `UnknownVersion`: a newer program wrote it, or one whose version is no longer kept |
| no version | it has version 1 |

A handler sees the newest version only. A writer writes it as well, unless the type is held at an older one: then the
message is taken down to it, a step at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, get_args

from services.contracts import commands, events, replies
from services.contracts.envelope import Message
from services.contracts.superseded import CHANGES, Change

Newest = (
    events.OrderCreated
    | events.OrderConfirmed
    | events.OrderCanceled
    | events.OrderRefunded
    | events.SagaStarted
    | events.SagaCompleted
    | events.SagaFailed
    | events.SagaCanceled
    | events.SagaRefunded
    | commands.ReserveStock
    | commands.ReleaseStock
    | commands.ChargePayment
    | commands.RefundPayment
    | replies.StockReserved
    | replies.StockRejected
    | replies.StockReleased
    | replies.PaymentCharged
    | replies.PaymentDeclined
    | replies.PaymentRefunded
    | replies.CommandDeadLettered
)
"""The newest version of every type."""


class Identity(NamedTuple):
    """What a model reads and writes: a type of message, in a version."""

    event_type: str
    version: int

    def __str__(self) -> str:
        """Return the type and version as files are named: `order.created.v2`."""
        return f"{self.event_type}.v{self.version}"


class Versions:
    """The models by type and version, and the steps between them.

    Args:
        newest: The newest model of each type.
        changes: The steps from each kept older version to the next one.

    Raises:
        ValueError: two models have one type and version, or the versions of a type have a gap.
    """

    def __init__(self, newest: Iterable[type[Message]], changes: Iterable[Change] = ()) -> None:
        steps = list(changes)
        models = [*(step.older for step in steps), *newest]
        self._changes = {identity(step.older): step for step in steps}
        #: Every model by type and version, the versions of a type in order.
        self.models: Mapping[Identity, type[Message]] = {identity(model): model for model in models}
        if len(self.models) < len(models):
            raise ValueError("two models have one type and version")
        for event_type in self.types():
            kept = self.of_type(event_type)
            if kept != list(range(kept[0], kept[-1] + 1)) or Identity(event_type, kept[-1]) in self._changes:
                raise ValueError(f"{event_type} has the versions {kept}, and not a step from each to the next")

    def types(self) -> list[str]:
        """Return all types, in the order in which they were given."""
        return list(dict.fromkeys(event_type for event_type, _ in self.models))

    def of_type(self, event_type: str) -> list[int]:
        """Return the kept versions of a type, oldest first; none of a type that is not known."""
        return sorted(version for known, version in self.models if known == event_type)

    def upcast(self, message: Message) -> Message:
        """Return a message as the newest version of its type has it."""
        while step := self._changes.get(Identity(message.event_type, message.schema_version)):
            message = step.up(message)
        return message

    def downcast(self, message: Message, version: int) -> Message:
        """Return a message as an older version of its type had it; one of that version or an older one as it is.

        Raises:
            KeyError: the version is not kept.
        """
        while message.schema_version > version:
            message = self._changes[Identity(message.event_type, message.schema_version - 1)].down(message)
        return message


def identity(model: type[Message]) -> Identity:
    """Return the type and the version that a model reads and writes."""
    return Identity(model.model_fields["event_type"].default, model.model_fields["schema_version"].default)


VERSIONS = Versions(get_args(Newest), CHANGES)
"""Every version of every type."""
