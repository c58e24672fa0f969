"""What waits shares a transaction, and each gets an outcome of its own."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from services.messaging.errors import Fatal, Unavailable
from services.messaging.storage.group_commit import GroupCommit, Member

_WHO: ContextVar[str] = ContextVar("who", default="nobody")


class Store:
    """Applies batches as a transaction would: all of a batch or nothing."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.committed: list[str] = []
        self.refused: dict[str, Exception] = {}
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.begun = asyncio.Event()

    async def apply(self, members: Sequence[Member[str]]) -> None:
        """Apply a batch, or raise what one of its items is refused with."""
        items = [member.item for member in members]
        self.batches.append(items)
        self.begun.set()
        await self.may_go_on.wait()
        for item in items:
            if item in self.refused:
                raise self.refused[item]
        self.committed += items


def _commits(store: Store, most: int = 64) -> GroupCommit[str]:
    return GroupCommit(store.apply, key=lambda item: item[0], most=most)


async def test_one_item_is_a_batch_of_one() -> None:
    """A single item is applied at once, alone."""
    store = Store()
    await _commits(store).add("a")
    assert store.batches == [["a"]]


async def test_what_comes_meanwhile_shares_the_next_batch() -> None:
    """Items that are added while a batch is under way are the next one, in their order."""
    store = Store()
    commits = _commits(store)
    store.may_go_on.clear()
    first = asyncio.create_task(commits.add("a"))
    await store.begun.wait()
    others = [asyncio.create_task(commits.add(item)) for item in "bcd"]
    await asyncio.sleep(0)
    store.may_go_on.set()
    await asyncio.gather(first, *others)
    assert store.batches == [["a"], ["b", "c", "d"]]


async def test_a_key_is_in_a_batch_once() -> None:
    """Items of one key are applied one after the other; others pass by."""
    store = Store()
    commits = _commits(store)
    await asyncio.gather(*(commits.add(item) for item in ("a1", "a2", "b1", "a3")))
    assert store.batches == [["a1", "b1"], ["a2"], ["a3"]]


async def test_a_batch_is_bounded() -> None:
    """A batch has no more items than it may."""
    store = Store()
    commits = _commits(store, most=2)
    await asyncio.gather(*(commits.add(item) for item in "abcde"))
    assert store.batches == [["a", "b"], ["c", "d"], ["e"]]


async def test_a_failed_batch_is_divided() -> None:
    """One item that can't be applied costs no other its effect, and gets its own error."""
    store = Store()
    store.refused["b"] = Fatal("no")
    commits = _commits(store)
    outcomes = await asyncio.gather(*(commits.add(item) for item in "abc"), return_exceptions=True)
    assert outcomes == [None, store.refused["b"], None]
    assert store.batches == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    assert store.committed == ["a", "c"]


async def test_a_database_that_is_away_fails_all() -> None:
    """Nothing is tried one by one while the database is away."""
    store = Store()
    store.refused["b"] = Unavailable("away")
    commits = _commits(store)
    outcomes = await asyncio.gather(*(commits.add(item) for item in "abc"), return_exceptions=True)
    assert outcomes == [store.refused["b"]] * 3
    assert store.batches == [["a", "b", "c"]]


async def test_an_item_that_waits_for_another_program_holds_up_no_other() -> None:
    """What one item's own decision raises is about that item, even if it looks like a database that is away."""

    def decide(item: str) -> None:
        if item == "b":
            raise Unavailable("this program lacks its definition")

    async def apply(members: Sequence[Member[str]]) -> None:
        for member in members:
            member.run(decide, member.item)

    commits = GroupCommit(apply, key=lambda item: item)
    outcomes = await asyncio.gather(*(commits.add(item) for item in "abc"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), Unavailable, type(None)]


async def test_each_item_is_decided_in_the_context_of_its_caller() -> None:
    """What is current or bound around `add` is so in `run`, and nothing of it where the batch is applied."""
    seen: list[tuple[str, str]] = []

    async def apply(members: Sequence[Member[str]]) -> None:
        seen.append(("batch", _WHO.get()))
        seen.extend((member.item, member.run(_WHO.get)) for member in members)

    commits = GroupCommit(apply, key=lambda item: item)

    async def call(item: str) -> None:
        _WHO.set(f"caller of {item}")
        await commits.add(item)

    await asyncio.gather(call("a"), call("b"))
    assert seen == [("batch", "nobody"), ("a", "caller of a"), ("b", "caller of b")]


async def test_a_caller_that_is_cancelled_leaves_the_others() -> None:
    """A cancelled caller gets its cancellation, and the batch of the others goes on."""
    store = Store()
    commits = _commits(store)
    store.may_go_on.clear()
    calls = [asyncio.create_task(commits.add(item)) for item in "ab"]
    await store.begun.wait()
    calls[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls[0]
    store.may_go_on.set()
    await calls[1]
    assert "b" in store.committed


async def test_a_batch_that_nobody_waits_for_is_cancelled() -> None:
    """When the last caller is cancelled, so is the transaction; the next item finds everything as new."""
    store = Store()
    commits = _commits(store)
    store.may_go_on.clear()
    call = asyncio.create_task(commits.add("a"))
    await store.begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    store.may_go_on.set()
    await commits.add("b")
    assert store.committed == ["b"]


async def test_an_item_whose_caller_has_gone_is_not_begun() -> None:
    """An item that waits for its turn is left out once its caller is cancelled."""
    store = Store()
    commits = _commits(store)
    store.may_go_on.clear()
    first = asyncio.create_task(commits.add("a"))
    await store.begun.wait()
    second = asyncio.create_task(commits.add("b"))
    await asyncio.sleep(0)
    second.cancel()
    store.may_go_on.set()
    await first
    await commits.add("c")
    assert store.batches == [["a"], ["c"]]
