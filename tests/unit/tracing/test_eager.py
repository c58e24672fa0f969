"""Coroutines that begin at once, in a task of their own."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tracing.eager import begin


async def test_a_coroutine_that_does_not_wait_is_done_at_once() -> None:
    """It has run when `begin` returns, in its own task, and the caller's task is the current one again."""
    seen: list[object] = []

    async def coroutine() -> None:
        seen.append(asyncio.current_task())

    caller = asyncio.current_task()
    task = begin(coroutine())
    assert seen == [task]
    assert asyncio.current_task() is caller
    await task
    assert len(seen) == 1


async def test_a_coroutine_that_waits_goes_on_in_its_task() -> None:
    """Each wait has its result or its error, as in any other task."""
    ready = asyncio.get_running_loop().create_future()
    failed = asyncio.get_running_loop().create_future()
    steps: list[object] = []

    async def coroutine() -> None:
        steps.append(await ready)
        await asyncio.sleep(0)
        with pytest.raises(KeyError):
            await failed
        steps.append(asyncio.current_task())

    task = begin(coroutine())
    assert steps == []
    ready.set_result("ready")
    failed.set_exception(KeyError())
    await task
    assert steps == ["ready", task]


async def test_a_timeout_in_it_is_its_own() -> None:
    """A timeout that was begun in the first step ends the coroutine's wait, and not the caller's."""
    outcome: list[str] = []

    async def coroutine() -> None:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            outcome.append("timeout")

    await begin(coroutine())
    assert outcome == ["timeout"]


@pytest.mark.parametrize("waits", [False, True])
async def test_it_can_be_cancelled_and_can_fail(*, waits: bool) -> None:
    """A cancellation reaches the coroutine where it waits, and an error is the task's."""
    cancelled: list[str] = []

    async def waiting() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("cancelled")
            raise

    async def failing() -> None:
        if waits:
            await asyncio.sleep(0)
        raise KeyError

    task = begin(waiting())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled == ["cancelled"]
    with pytest.raises(KeyError):
        await _started(failing())


async def _started(coroutine: Coroutine[Any, Any, None]) -> None:
    await begin(coroutine)
