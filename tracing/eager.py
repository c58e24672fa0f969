"""Begin a coroutine at once in a task of its own, as eager tasks do from Python 3.12 on.

Nothing is awaited: a coroutine that never waits is done when `begin` returns, and any other goes on in its task. From
the start that task is the current one, so that a timeout in the coroutine is the timeout of that task and not of the
caller's. How tasks are entered and left is in the documentation of asyncio, "Extending".
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from typing import Any


class _Begun(Coroutine[Any, Any, None]):
    """A coroutine whose first step was taken: a task is shown what it waits for, and takes the others."""

    __slots__ = ("_coroutine", "_is_first", "_outcome", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._waits_for: Any = None
        #: What the first step ended with, if the coroutine did not wait.
        self._outcome: BaseException | None = None
        self._is_first = True

    def begin(self) -> None:
        """Take the first step."""
        try:
            self._waits_for = self._coroutine.send(None)
        except BaseException as error:  # noqa: BLE001 - StopIteration, or an error, which is the task's
            self._outcome = error

    def send(self, value: Any) -> Any:  # noqa: ANN401 - the signature of a coroutine
        """Take the next step; the first one was taken."""
        if not self._is_first:
            return self._coroutine.send(value)
        self._is_first = False
        if self._outcome is not None:
            raise self._outcome
        return self._waits_for

    def throw(self, *error: Any) -> Any:  # noqa: ANN401 - as above
        """Raise an error, a cancellation for example, where the coroutine waits."""
        self._is_first = False
        if self._outcome is not None:
            raise self._outcome
        return self._coroutine.throw(*error)

    def close(self) -> None:
        """Close the coroutine."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        """Refuse: a task takes the steps."""
        raise TypeError("a coroutine that was begun belongs to its task")


def begin(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run a coroutine up to its first wait, and return the task that does the rest."""
    loop = asyncio.get_running_loop()
    context = copy_context()
    begun = _Begun(coroutine)
    task = loop.create_task(begun, context=context)
    caller = asyncio.current_task()
    if caller is not None:
        asyncio.tasks._leave_task(loop, caller)  # noqa: SLF001 - documented for tasks of another make
    asyncio.tasks._enter_task(loop, task)  # noqa: SLF001 - as above
    try:
        context.run(begun.begin)
    finally:
        asyncio.tasks._leave_task(loop, task)  # noqa: SLF001 - as above
        if caller is not None:
            asyncio.tasks._enter_task(loop, caller)  # noqa: SLF001 - as above
    return task
