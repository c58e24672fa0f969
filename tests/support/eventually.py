"""Wait for a condition instead of sleeping for a guess."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

from tests.runs.slowness import slowness

T = TypeVar("T")

_INTERVAL_S = 0.02


@overload
async def eventually(predicate: Callable[[], Awaitable[T]], timeout_s: float = ...) -> T: ...
@overload
async def eventually(predicate: Callable[[], T], timeout_s: float = ...) -> T: ...
async def eventually(predicate: Callable[[], T | Awaitable[T]], timeout_s: float = 10.0) -> T:
    """Poll a plain or async predicate until it is truthy, and return what it returned.

    Args:
        predicate: called again and again; an AssertionError that it raises counts as "not yet".
        timeout_s: seconds after which waiting ends; longer on a slow machine, by as much as it is slower.

    Raises:
        AssertionError: the predicate's own last one, or one that shows its last value.
    """
    began, allowed_s = time.monotonic(), timeout_s
    while True:
        value, failure = await _attempt(predicate)
        if failure is None and value:
            return value
        if time.monotonic() - began >= allowed_s:
            allowed_s = timeout_s * await asyncio.to_thread(slowness)
        if time.monotonic() - began >= allowed_s:
            raise failure or AssertionError(f"still {value!r} after {timeout_s} s")
        await asyncio.sleep(_INTERVAL_S)


async def _attempt(predicate: Callable[[], T | Awaitable[T]]) -> tuple[T | None, AssertionError | None]:
    try:
        value = predicate()
        return (await value if inspect.isawaitable(value) else value), None
    except AssertionError as error:
        return None, error
