"""The report of a run of random kills: counts, and whether the guarantee held."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from tests.chaos.killers import Killers
from tests.chaos.run import Aftermath


@dataclass(frozen=True)
class Report:
    """The counts of a run.

    Attributes:
        sagas: Sagas that were started.
        kills: Processes that were killed, from outside or at a crash point.
        pauses: Processes that were stopped for longer than their group and their leases wait, and then continued.
        redeliveries: Messages that a group received again.
        duplicates_absorbed: Those of them that its inbox recognised.
        lost: Accepted orders with a missing end, event or notice.
        double_effects: Sagas with money, stock, an event or a notice that is there too often.
        broken_traces: Sagas that are not one connected trace in Jaeger.
        deaths: Processes that ended without being killed.
        seconds: How long it took.
    """

    sagas: int
    kills: int
    pauses: int
    redeliveries: int
    duplicates_absorbed: int
    lost: int
    double_effects: int
    broken_traces: int
    deaths: int
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether no event was lost, each effect was there once, and each saga was one trace."""
        return not (self.lost or self.double_effects or self.broken_traces or self.deaths)

    def document(self) -> dict[str, float]:
        """Return it as a JSON value."""
        return asdict(self)


def report(killers: Killers, left: Aftermath) -> Report:
    """Return the counts of what is left after the kills."""
    return Report(
        sagas=len(left.books.sagas),
        kills=killers.done,
        pauses=killers.pauses,
        redeliveries=left.traces.redeliveries,
        duplicates_absorbed=left.traces.duplicates,
        lost=len({fault.about for fault in left.lost}),
        double_effects=len({fault.about for fault in left.double_effects}),
        broken_traces=len(left.traces.broken),
        deaths=len(killers.deaths),
        seconds=round(left.seconds, 1),
    )
