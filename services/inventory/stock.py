"""The stock's rules, pure: what becomes of a reservation when a command arrives.

A reservation is known by (saga_id, step), never by the command: a command is one attempt, and any number of attempts
have one effect. So the table below has an entry for each state and each request, and none of them is an error:

- what was decided stays decided, and is answered again;
- a release of what never happened is kept as a tombstone, which refuses every later reserve as `undone`: the reserve
  may have been overtaken, and nobody would release it;
- a reservation of a slow SKU is pending until it is due; a later attempt takes over its answer, a release cancels it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.contracts import Item

OUT_OF_STOCK = "out_of_stock"
UNDONE = "undone"


class ReservationState(StrEnum):
    """Where a reservation stands."""

    NEW = "new"
    PENDING = "pending"
    RESERVED = "reserved"
    REJECTED = "rejected"
    RELEASED = "released"


class ReservationRequest(StrEnum):
    """What a command asks for."""

    RESERVE = "reserve"
    RELEASE = "release"


class ReservationAction(StrEnum):
    """What is done for a request before the reply."""

    DECIDE = "decide"
    AWAIT = "await"
    GIVE_BACK = "give_back"
    LEAVE_TOMBSTONE = "leave_tombstone"
    NOTHING = "nothing"


ACTIONS: Mapping[tuple[ReservationState, ReservationRequest], ReservationAction] = {
    (ReservationState.NEW, ReservationRequest.RESERVE): ReservationAction.DECIDE,
    (ReservationState.PENDING, ReservationRequest.RESERVE): ReservationAction.AWAIT,
    (ReservationState.RESERVED, ReservationRequest.RESERVE): ReservationAction.NOTHING,
    (ReservationState.REJECTED, ReservationRequest.RESERVE): ReservationAction.NOTHING,
    (ReservationState.RELEASED, ReservationRequest.RESERVE): ReservationAction.NOTHING,
    (ReservationState.NEW, ReservationRequest.RELEASE): ReservationAction.LEAVE_TOMBSTONE,
    (ReservationState.PENDING, ReservationRequest.RELEASE): ReservationAction.LEAVE_TOMBSTONE,
    (ReservationState.RESERVED, ReservationRequest.RELEASE): ReservationAction.GIVE_BACK,
    (ReservationState.REJECTED, ReservationRequest.RELEASE): ReservationAction.NOTHING,
    (ReservationState.RELEASED, ReservationRequest.RELEASE): ReservationAction.NOTHING,
}


@dataclass(frozen=True)
class Decision:
    """What the stock allows."""

    state: ReservationState
    reason: str | None = None


@dataclass(frozen=True)
class FailurePlan:
    """Which SKUs fail, and how: explicit, so that a scenario is chosen by what is ordered."""

    #: SKUs that are never in stock.
    out_of_stock: frozenset[str] = frozenset({"sku_none"})
    #: SKUs whose reservation is answered late.
    slow: frozenset[str] = frozenset({"sku_slow"})
    #: How late, in seconds.
    delay_s: float = 2.0
    #: The stock of every other SKU when it is first asked for.
    quantity: int = 1_000_000

    def delay_of(self, skus: Iterable[str]) -> float:
        """Return how long a reservation of these SKUs takes, in seconds."""
        return self.delay_s if self.slow.intersection(skus) else 0.0

    def first_quantity(self, sku: str) -> int:
        """Return the quantity of a SKU before anybody takes any."""
        return 0 if sku in self.out_of_stock else self.quantity


def wanted(items: Iterable[Item]) -> dict[str, int]:
    """Return the total quantity of each SKU, sorted by SKU: the order in which their rows are locked."""
    quantities: dict[str, int] = {}
    for item in items:
        quantities[item.sku] = quantities.get(item.sku, 0) + item.quantity
    return dict(sorted(quantities.items()))


def decide(quantities: Mapping[str, int], available: Mapping[str, int]) -> Decision:
    """Return the decision: all lines are reserved, or none."""
    if all(available.get(sku, 0) >= quantity for sku, quantity in quantities.items()):
        return Decision(ReservationState.RESERVED)
    return Decision(ReservationState.REJECTED, OUT_OF_STOCK)


def refusal(state: ReservationState, reason: str | None) -> str | None:
    """Return why a reserve is refused in this state; None if the stock is reserved."""
    if state is ReservationState.RELEASED:
        return UNDONE
    return reason if state is ReservationState.REJECTED else None


@dataclass(frozen=True)
class Movement:
    """A change of the stock of one SKU by a saga's step: negative for what is taken."""

    saga_id: str
    step: str
    kind: str
    sku: str
    quantity: int


class Shelf:
    """The stock of some SKUs while their rows are locked, and how it was changed."""

    def __init__(self, quantities: Mapping[str, int]) -> None:
        self._quantities = dict(quantities)
        self.movements: list[Movement] = []

    def decide(self, quantities: Mapping[str, int]) -> Decision:
        """Return whether the stock allows a reservation, after what has been moved so far."""
        return decide(quantities, self._quantities)

    def take(self, saga_id: str, step: str, quantities: Mapping[str, int]) -> None:
        """Move quantities out of the stock for a step of a saga."""
        self._move(saga_id, step, "reserve", quantities, -1)

    def give_back(self, saga_id: str, step: str, quantities: Mapping[str, int]) -> None:
        """Move quantities back into the stock."""
        self._move(saga_id, step, "release", quantities, +1)

    def _move(self, saga_id: str, step: str, kind: str, quantities: Mapping[str, int], sign: int) -> None:
        for sku, quantity in sorted(quantities.items()):
            self._quantities[sku] = self._quantities.get(sku, 0) + sign * quantity
            self.movements.append(Movement(saga_id, step, kind, sku, sign * quantity))

    def changes(self) -> dict[str, int]:
        """Return by how much each SKU's stock has changed, sorted by SKU."""
        changes: dict[str, int] = {}
        for movement in self.movements:
            changes[movement.sku] = changes.get(movement.sku, 0) + movement.quantity
        return dict(sorted(changes.items()))
