"""The breaker: when it trips, what it lets through, and when it closes."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.messaging.breaker.breaker import Breaker, BreakerState, Trip, TripInMemory
from services.messaging.breaker.tally import Cooldown, Limits, Tally
from services.messaging.errors import Held, Unavailable
from tests.support.ladder import GROUP, Handling, delivery
from tests.support.records import DeadLetterTopic, record
from tracing.testing import RecordedSpans

LIMITS = Limits(in_a_row=3, window=10, ratio=0.5)
ENDLESS = Cooldown(3600, 3600, 2)
NONE = Cooldown(0.0, 0.0, 2)


def breaker(limits: Limits = LIMITS, cooldown: Cooldown = ENDLESS, store: TripInMemory | None = None) -> Breaker:
    """A breaker that trips soon."""
    return Breaker(GROUP, limits, cooldown, store or TripInMemory())


def trips_after(limits: Limits, outcomes: Sequence[bool]) -> int | None:
    """Return how many records there were when the tally was full, each with whether it failed."""
    tally = Tally(limits)
    for number, fails in enumerate(outcomes, start=1):
        if fails and tally.failed() is not None:
            return number
        if not fails:
            tally.worked()
    return None


def test_so_many_in_a_row_trip() -> None:
    """The limit is exact, and one that works in between begins the row anew."""
    assert trips_after(LIMITS, [True] * 3) == 3
    assert trips_after(LIMITS, [True, True, False, True, True]) is None


def test_half_of_all_failing_trips_within_the_window() -> None:
    """If every second record fails, no row is ever long, and the ratio trips."""
    assert trips_after(LIMITS, [False, True] * 20) == 10


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 6), st.integers(1, 12), st.floats(0.1, 1.0))
def test_what_fails_before_it_trips_is_bounded(outcomes: list[bool], row: int, window: int, ratio: float) -> None:
    """Whatever the order, no row and no window ever holds more failures than the limits name."""
    limits = Limits(row, window, ratio)
    tripped = trips_after(limits, outcomes)
    before = outcomes[: tripped - 1] if tripped is not None else outcomes
    for end in range(len(before)):
        assert sum(before[max(0, end - window + 1) : end + 1]) < max(1.0, ratio * window)
        assert not all(before[end - row + 1 : end + 1]) or end < row - 1


async def test_the_record_that_trips_it_is_a_dead_letter_and_the_next_stays(spans: RecordedSpans) -> None:
    """Exactly as many dead letters as the limit allows are written; what comes then is undone, and begins no span."""
    dead_letters, tripping = DeadLetterTopic(), breaker()
    handling = Handling([ValueError()] * 100)
    ladder = delivery(handling, dead_letters, retries=0, breaker=tripping)
    for offset in range(3):
        await ladder.deliver(record(offset=offset))
    with pytest.raises(Held):
        await ladder.deliver(record(offset=3))
    assert (len(dead_letters.kept), len(handling.calls), len(spans.finished)) == (3, 3, 3)
    assert "3 dead letters in a row, the last for ValueError" in (tripping.reason or "")


async def test_what_fails_after_the_trip_is_no_dead_letter(spans: RecordedSpans) -> None:
    """A record that was begun before the trip and fails after it is undone: its span is interrupted, no failure."""
    dead_letters, tripping, going = DeadLetterTopic(), breaker(), asyncio.Event()

    async def fail(_: object) -> None:
        await going.wait()
        raise ValueError

    ladder = delivery(fail, dead_letters, retries=0, breaker=tripping)
    ends = [asyncio.create_task(ladder.deliver(record(offset=offset))) for offset in range(8)]
    await asyncio.sleep(0)
    going.set()
    outcomes = await asyncio.gather(*ends, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [Held] * 5
    assert len(dead_letters.kept) == 3
    interrupted = [span for span in spans.finished if (span.attributes or {}).get("sagatrace.interrupted")]
    assert [span.status.is_ok for span in interrupted] == [True] * 5


async def test_it_probes_after_the_cooldown_and_closes() -> None:
    """After the cool-down records are let through; so many that work close it."""
    tripping = breaker(cooldown=NONE)
    for _ in range(3):
        tripping.failed("ValueError")
    states = [tripping.state]
    await tripping.sync()
    states.append(tripping.state)
    tripping.admit()
    tripping.worked()
    states.append(tripping.state)
    tripping.worked()
    await tripping.sync()
    assert states == [BreakerState.OPEN, BreakerState.PROBING, BreakerState.PROBING]
    assert (tripping.state, tripping.reason) == (BreakerState.CLOSED, None)


async def test_a_probe_that_fails_opens_it_again_for_longer() -> None:
    """One failure among the probes is enough, and each makes the cool-down longer, up to its limit."""
    store = TripInMemory()
    tripping = breaker(cooldown=NONE, store=store)
    for _ in range(3):
        tripping.failed("ValueError")
    await tripping.sync()
    tripping.worked()
    tripping.failed("ValueError")
    assert tripping.state is BreakerState.OPEN
    assert [Cooldown(30, 100, 1).after(trips) for trips in (1, 2, 3, 100)] == [30, 60, 100, 100]


async def test_a_trip_elsewhere_is_obeyed_and_so_is_an_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store says counts: another member's trip opens this one's breaker, and its end closes it."""
    monkeypatch.setattr("services.messaging.breaker.breaker._LOOK_EVERY_S", 0.0)
    store = TripInMemory()
    one, other = breaker(store=store), breaker(store=store)
    for _ in range(3):
        one.failed("ValueError")
    await one.sync()
    await other.sync()
    assert (other.state, one.state) == (BreakerState.OPEN, BreakerState.OPEN)
    await store.close()
    await other.sync()
    await one.sync()
    assert (other.state, one.state) == (BreakerState.CLOSED, BreakerState.CLOSED)


class Away(TripInMemory):
    """A store that is away at first."""

    is_away = True

    async def trip(self, reason: str, cooldown: Cooldown) -> Trip:
        """Fail, or keep a trip."""
        if self.is_away:
            raise Unavailable("away")
        return await super().trip(reason, cooldown)


async def test_a_store_that_is_away_closes_nothing() -> None:
    """A trip that can't be kept yet holds here all the same, and is kept later."""
    store = Away()
    tripping = breaker(store=store)
    for _ in range(3):
        tripping.failed("ValueError")
    await tripping.sync()
    await tripping.sync()
    assert (tripping.state, await store.read()) == (BreakerState.OPEN, None)
    store.is_away = False
    await tripping.sync()
    assert (tripping.state, await store.read() is None) == (BreakerState.OPEN, False)


async def test_a_store_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks goes on after a short while, with what it knew."""
    monkeypatch.setattr("services.messaging.breaker.breaker._LOOK_S", 0.01)
    store = TripInMemory()
    monkeypatch.setattr(store, "read", asyncio.Event().wait)
    waiting = breaker(store=store)
    await asyncio.wait_for(waiting.sync(), 50)
    assert waiting.state is BreakerState.CLOSED


async def test_it_is_counted_and_shown(spans: RecordedSpans, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trips have a counter, and whether a group's breaker is open is a gauge."""
    monkeypatch.setattr("opentelemetry.metrics.get_meter", spans.meter_provider.get_meter)
    tripping = breaker()
    for _ in range(3):
        tripping.failed("ValueError")
    names = ("sagatrace.consumer.breaker.trips", "sagatrace.consumer.breaker.open")
    assert [[point.value for point in spans.metric_points(name)] for name in names] == [[1], [1]]
