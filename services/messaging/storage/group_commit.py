"""Group commit: what comes while a transaction runs shares the next one.

Each caller adds one item and waits for its own outcome. If nothing is under way, its batch begins at once, with
whatever was added in the same turn of the event loop; so a single item never waits for others, and a batch is as large
as the load makes it.

A batch succeeds as a whole, or leaves nothing behind: it is one transaction. A batch that fails is divided into its
items, each a batch of one with an outcome of its own, so that one item costs no other its effect; only if the database
is away do they all fail, because none of them could do better. Two items with the same key are never in one batch, and
those of a key are applied in the order in which they came.

An item is decided in the context of its caller (`Member.run`): its span is current there, and what is bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Sequence
from contextvars import Context, copy_context
from typing import Any, Generic, ParamSpec, TypeVar

from services.messaging.errors import is_away

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


class Member(Generic[T]):
    """An item of a batch, with the context of the caller that waits for it."""

    __slots__ = ("_context", "has_failed", "item", "outcome")

    def __init__(self, item: T) -> None:
        self.item = item
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.has_failed = False
        self._context = copy_context()

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in the caller's context, and return its result.

        Raises:
            Exception: what the function raises; it is about this item, and no other.
        """
        try:
            return self._context.run(function, *args, **kwargs)
        except Exception:
            self.has_failed = True
            raise

    def end(self, error: BaseException | None) -> None:
        """End the caller's wait, unless it has stopped waiting: with an error, or without."""
        if self.outcome.done():
            return
        if error is None:
            self.outcome.set_result(None)
        else:
            self.outcome.set_exception(error)
            self.outcome.exception()  # retrieved, should the caller be cancelled in this very turn


Apply = Callable[[Sequence[Member[T]]], Coroutine[Any, Any, None]]


class GroupCommit(Generic[T]):
    """Applies items in batches, one batch at a time.

    Args:
        apply: Applies a batch in one transaction; it is called again for each item alone if that fails.
        key: Returns what orders an item: those of one key are applied one after the other.
        most: How many items a batch may have.
    """

    def __init__(self, apply: Apply[T], key: Callable[[T], Hashable], *, most: int = 64) -> None:
        self._apply = apply
        self._key = key
        self._most = most
        self._waiting: list[Member[T]] = []
        self._batch: Sequence[Member[T]] = ()
        self._applying: asyncio.Task[None] | None = None
        self._working: asyncio.Task[None] | None = None

    async def add(self, item: T) -> None:
        """Apply an item, and return once its batch is committed.

        Raises:
            CancelledError: the caller was cancelled; the item has had its effect, or will have it, or never.
            Exception: the item could not be applied, alone or because the database is away.
        """
        member = Member(item)
        self._waiting.append(member)
        if self._working is None:
            self._working = asyncio.create_task(self._work(), context=Context())
        try:
            await member.outcome
        finally:
            self._give_up_if_alone()

    async def _work(self) -> None:
        try:
            while batch := self._next():
                await self._serve(batch)
        finally:
            self._working = None

    def _next(self) -> list[Member[T]]:
        """Take the items of the next batch, oldest first."""
        batch: dict[Hashable, Member[T]] = {}
        left = []
        for member in self._waiting:
            if member.outcome.done():  # its caller was cancelled
                continue
            key = self._key(member.item)
            if key in batch or len(batch) == self._most:
                left.append(member)
            else:
                batch[key] = member
        self._waiting = left
        return list(batch.values())

    async def _serve(self, batch: Sequence[Member[T]]) -> None:
        error = await self._try(batch)
        if len(batch) > 1 and isinstance(error, Exception) and _is_about_one(batch, error):
            for member in batch:
                if not member.outcome.done():
                    await self._serve([member])
            return
        for member in batch:
            member.end(error)

    async def _try(self, batch: Sequence[Member[T]]) -> BaseException | None:
        """Apply a batch, and return what it raised."""
        self._batch = batch
        self._applying = applying = asyncio.create_task(self._apply(batch), context=Context())
        try:
            await asyncio.wait([applying])
        finally:
            applying.cancel()
            self._batch, self._applying = (), None
        return asyncio.CancelledError() if applying.cancelled() else applying.exception()

    def _give_up_if_alone(self) -> None:
        """Cancel the transaction for which no caller waits any more."""
        if self._applying is not None and all(member.outcome.done() for member in self._batch):
            self._applying.cancel()


def _is_about_one(batch: Sequence[Member[T]], error: Exception) -> bool:
    """Return whether a batch may have failed because of one of its items."""
    return not is_away(error) or any(member.has_failed for member in batch)
