"""Work that is cancelled, and processes that are killed: nothing half done, nothing lost."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from services.messaging.outbox.outbox import Outbox
from services.messaging.outbox.relay import Relay
from services.messaging.settings import RelaySettings
from services.messaging.storage.database import Database
from tests.support.databases import SCHEMA
from tests.support.eventually import eventually
from tests.support.outboxes import event, fates, put
from tests.support.publishers import KeepingPublisher

# A relay whose sends never end: it says when it has begun one.
_HANGING_RELAY = """
import asyncio, sys
from services.messaging.storage.database import Database
from services.messaging.outbox.outbox import Outbox
from services.messaging.outbox.relay import Relay
from services.messaging.settings import RelaySettings

class Hanging:
    async def publish(self, topic, *, key, value):
        print(key.decode(), flush=True)
        await asyncio.Event().wait()

async def main(url, schema):
    database = Database(url, schema=schema)
    await Relay(database, Outbox(database), Hanging(), settings=RelaySettings(lease=1.0)).run()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_cancelled_transaction_is_whole_or_not_there(database: Database, outbox: Outbox) -> None:
    """Cancelled at any moment, a transaction has committed both of its rows or none, and the next one works."""

    async def add_two(tag: str) -> None:
        async with database.transaction() as connection:
            await outbox.add(connection, "events", event(tag))
            await outbox.add(connection, "events", event(tag))

    for turns in range(40):
        task = asyncio.create_task(add_two(f"tag-{turns}"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await add_two("last")
    counts = Counter(fate.order for fate in await fates(database))
    assert set(counts.values()) == {2}
    assert counts["last"] == 2


async def test_rows_of_a_killed_relay_are_sent_by_the_next(database: Database, outbox: Outbox) -> None:
    """A relay killed while it sends holds its rows while their leases last; then another one sends them in order."""
    await put(database, outbox, "a", "b", "a")
    async with _hanging_relay(database) as process:
        assert process.stdout is not None
        begun = {(await asyncio.wait_for(process.stdout.readline(), 200)).decode().strip() for _ in range(2)}
        assert begun == {"a", "b"}
        process.send_signal(signal.SIGKILL)
        await asyncio.wait_for(process.wait(), 50)
    publisher = KeepingPublisher()
    relay = Relay(database, outbox, publisher, settings=RelaySettings(poll_interval=0.05))
    task = asyncio.create_task(relay.run())

    async def all_sent() -> bool:
        return all(fate.sent for fate in await fates(database))

    await eventually(all_sent)
    await relay.stop()
    await asyncio.wait_for(task, 100)
    assert publisher.sequences == {"a": [0, 2], "b": [1]}
    assert [fate.attempts for fate in await fates(database)] == [2, 2, 1]


@asynccontextmanager
async def _hanging_relay(database: Database) -> AsyncIterator[Process]:
    url = database.url.render_as_string(hide_password=False)
    command = (sys.executable, "-c", _HANGING_RELAY, url, SCHEMA)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, env=os.environ)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
