"""Closing a Kafka client in bounded time.

The client's own `stop` flushes what it holds and leaves its group, and while the broker is away each of these waits for
ever (aiokafka 0.14). So it gets a time, and what is left after that is cut off: its tasks, its connections, and the
sends that would wait for them. After that the client logs and does nothing more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import ProducerClosed

# How long a cancelled task may take to end, in seconds; after that it is left behind.
_CUT_S = 1.0


async def close_producer(client: AIOKafkaProducer, timeout_s: float, *, flush: bool = True) -> None:
    """Close a producer within a time in seconds; without `flush`, what it holds is given up at once.

    A caller that waits for a send that is given up gets `ProducerClosed`.
    """
    if not (flush and await _ends(client.stop(), timeout_s)):
        await _cut_producer(client)


async def close_consumer(client: AIOKafkaConsumer, timeout_s: float) -> bool:
    """Leave the group and close a consumer within a time in seconds; return whether the group was told."""
    left = await _ends(client.stop(), timeout_s)
    if not left:
        await _cut_consumer(client)
    return left


async def _ends(call: Any, timeout_s: float) -> bool:  # noqa: ANN401  a coroutine of the client, which has no types
    """Return whether a call succeeds in time; otherwise, or when the caller is cancelled, cancel it."""
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait([task], timeout=timeout_s)
    finally:
        if not task.done():
            task.cancel()
    return task.done() and not task.cancelled() and task.exception() is None


async def _cut_producer(client: Any) -> None:  # noqa: ANN401  the parts that are cut off are not public
    client._closed = True  # noqa: SLF001  or its destructor complains
    accumulator = client._message_accumulator  # noqa: SLF001
    accumulator._closed = True  # noqa: SLF001
    for batch in [batch for batches in accumulator._batches.values() for batch in batches]:  # noqa: SLF001
        batch.drain_ready()
    accumulator.fail_all(ProducerClosed())
    sender = client._sender.sender_task  # noqa: SLF001
    if sender is not None:
        # What this callback would do is done above, and it fails without a transaction.
        sender.remove_done_callback(client._sender._fail_all)  # noqa: SLF001
    await _cut_connections(client.client)
    # Cancelled once, the sender waits for its requests; cancelled again, it leaves them.
    await _cut([sender])
    await _cut([sender])


async def _cut_consumer(client: Any) -> None:  # noqa: ANN401  as above
    client._closed = True  # noqa: SLF001
    coordinator, fetcher = client._coordinator, client._fetcher  # noqa: SLF001
    await _cut_connections(client._client)  # noqa: SLF001
    if coordinator is not None:
        closing = coordinator._closing  # noqa: SLF001
        if not closing.done():
            closing.set_result(None)
        names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task")
        await _cut(getattr(coordinator, name) for name in names)
    if fetcher is not None:
        fetcher._closed = True  # noqa: SLF001
        await _cut([fetcher._fetch_task, *fetcher._pending_tasks])  # noqa: SLF001


async def _cut_connections(client: Any) -> None:  # noqa: ANN401  as above
    """Close the connections, which fails their requests, and end the wait for metadata that never comes."""
    await _ends(client.close(), _CUT_S)
    waiting = client._md_update_fut  # noqa: SLF001
    if waiting is not None and not waiting.done():
        waiting.set_result(False)


async def _cut(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    cut = list(_cancelled(tasks))
    if cut:
        await asyncio.wait(cut, timeout=_CUT_S)
        for task in cut:
            with suppress(asyncio.CancelledError, asyncio.InvalidStateError):
                task.exception()


def _cancelled(tasks: Iterable[asyncio.Task[Any] | None]) -> Iterator[asyncio.Task[Any]]:
    for task in tasks:
        if task is not None and not task.done():
            task.cancel()
            yield task
