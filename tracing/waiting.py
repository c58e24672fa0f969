"""Find the task that waits for another in `asyncio.wait_for`, on Python 3.11.

There `wait_for` runs its awaitable in a task of its own, with a copy of the caller's context variables, so nothing that
is set in it reaches the caller. From 3.12 on it waits in the caller's task, and there is nothing to find.

The task that is waited for has a callback that releases a future; that future's only callback wakes the caller, in the
caller's context. Python 3.11 has these names as they are until its end, because it gets nothing but security fixes.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from contextvars import Context
from typing import Any, Final, NamedTuple

#: What `wait_for` has called when the task is done.
_RELEASE: Final = getattr(asyncio.tasks, "_release_waiter", None)


class Waiter(NamedTuple):
    """A task that waits, and its context variables."""

    task: asyncio.Task[Any]
    variables: Context


def waiter(task: asyncio.Task[Any] | None) -> Waiter | None:
    """Return who waits for a task in `asyncio.wait_for`; None if nobody does, or on any other version of Python."""
    if sys.version_info >= (3, 12) or task is None:
        return None
    for callback, _ in getattr(task, "_callbacks", None) or ():
        if isinstance(callback, functools.partial) and callback.func is _RELEASE:
            return _woken_by(callback.args[0])
    return None


def _woken_by(future: object) -> Waiter | None:
    for wake_up, variables in getattr(future, "_callbacks", None) or ():
        task = getattr(wake_up, "__self__", None)
        if isinstance(task, asyncio.Task):
            return Waiter(task, variables)
    return None
