"""A background loop: busy while there is work, woken at once, patient with what is away, and dead of a bug."""

import asyncio
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from services.messaging.errors import Unavailable
from services.messaging.loop import Loop

_NEVER_S = 3600.0


async def test_a_loop_goes_on_while_there_is_work() -> None:
    """Turns that say there is more follow each other; the first that does not is followed by a wait."""
    turns: Iterator[bool] = iter([True, True, False])
    done = asyncio.Event()

    async def turn() -> bool:
        more = next(turns)
        if not more:
            done.set()
        return more

    loop = Loop("test", turn, interval_s=_NEVER_S)
    task = asyncio.create_task(loop.run())
    await asyncio.wait_for(done.wait(), 50)
    await loop.stop()
    await asyncio.wait_for(task, 50)


async def test_a_wake_up_ends_the_wait() -> None:
    """A loop that waits takes its next turn when it is woken, and one woken during a turn takes another after it."""
    turns = 0
    took = asyncio.Semaphore(0)
    loop: Loop

    async def turn() -> bool:
        nonlocal turns
        turns += 1
        took.release()
        if turns == 1:
            loop.wake.set()
        return False

    loop = Loop("test", turn, interval_s=_NEVER_S)
    task = asyncio.create_task(loop.run())
    for _ in range(2):
        await asyncio.wait_for(took.acquire(), 50)
    loop.wake.set()
    await asyncio.wait_for(took.acquire(), 50)
    await loop.stop()
    await asyncio.wait_for(task, 50)
    assert turns == 3


async def test_a_database_that_is_away_is_waited_for() -> None:
    """Unavailable does not end the loop; it is logged once when it begins and once when it is over."""
    outcomes: Iterator[Exception | None] = iter([Unavailable("away"), Unavailable("away"), None])
    loop: Loop

    async def turn() -> bool:
        outcome = next(outcomes)
        if outcome:
            raise outcome
        await loop.stop()
        return False

    loop = Loop("test", turn, interval_s=0.001)
    with capture_logs() as logs:
        await asyncio.wait_for(loop.run(), 50)
    assert [(log["event"], log["loop"]) for log in logs] == [("loop.unavailable", "test"), ("loop.available", "test")]


async def test_a_loop_says_what_is_away_as_long_as_it_is() -> None:
    """Whoever asks after a turn that found nothing there is told why, and nothing more once a turn has worked."""
    told: list[str | None] = []
    outcomes: Iterator[Exception | None] = iter([Unavailable("no database"), None])
    loop: Loop

    async def turn() -> bool:
        told.append(loop.trouble)
        if outcome := next(outcomes, None):
            raise outcome
        if len(told) == 3:
            await loop.stop()
        return False

    loop = Loop("test", turn, interval_s=0.001)
    await asyncio.wait_for(loop.run(), 50)
    assert told == [None, "no database", None]


async def test_a_bug_ends_the_loop() -> None:
    """Any other error comes out of `run`, so that the process stops instead of limping on."""

    async def turn() -> bool:
        raise LookupError

    with pytest.raises(LookupError):
        await asyncio.wait_for(Loop("test", turn, interval_s=_NEVER_S).run(), 5)


async def test_a_slow_turn_rests_longer() -> None:
    """A turn that took long is followed by a wait that keeps its share of the time, whatever the interval."""

    async def slow() -> bool:
        await asyncio.sleep(0.02)
        return False

    assert await Loop("t", slow, interval_s=0.1, share=0.01)._turn_once() >= 0.02 * 99
    assert await Loop("t", slow, interval_s=0.1)._turn_once() == 0.1
