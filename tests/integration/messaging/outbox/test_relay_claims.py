"""What a relay says of a row that another one had claimed, and what it leaves when it is stopped."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from services.messaging.outbox.outbox import Outbox, OutboxRow
from services.messaging.outbox.relay import Relay
from services.messaging.settings import RelaySettings
from services.messaging.storage.database import Database
from tests.support.eventually import eventually
from tests.support.outboxes import expire_leases, fates, put
from tests.support.publishers import KeepingPublisher
from tests.support.relays import Sending, all_sent, running
from tracing.testing import RecordedSpans

_NEVER_S = 3600.0
_SETTINGS = RelaySettings(poll_interval=_NEVER_S)
_STUCK = RelaySettings(poll_interval=0.02, drain=0.05)


async def test_the_send_of_a_row_that_was_claimed_before_says_so(database: Database, outbox: Outbox) -> None:
    """A row that a dead relay may have sent already bears the number of its claim on its send; no other row does."""
    await put(database, outbox, "a")
    await outbox.claim(1, 60.0)
    await expire_leases(database)
    await put(database, outbox, "b")
    with RecordedSpans(instrumented=False) as spans:
        async with running(Relay(database, outbox, Sending(), settings=_SETTINGS)):
            await eventually(all_sent(database))
    sent = {(send.attributes or {})["order.id"]: send for send in spans.finished}
    assert {key: (send.attributes or {}).get("sagatrace.outbox.attempt") for key, send in sent.items()} == {
        "a": 2,
        "b": None,
    }


async def test_a_row_may_be_settled_while_others_are_given_back(database: Database) -> None:
    """A send that ends while a stop gives rows back is recorded, and the stop is an orderly one."""
    if database.is_sqlite:
        pytest.skip("SQLite has one writer at a time: nothing is settled meanwhile")
    publisher = KeepingPublisher()
    publisher.block("first")
    publisher.block("second")
    giving_back = asyncio.Event()

    class Returning(Outbox):
        async def mark_sent(self, connection: AsyncConnection, *what: Any) -> Any:
            await giving_back.wait()
            return await super().mark_sent(connection, *what)

        async def release(self, connection: AsyncConnection, rows: Iterable[OutboxRow]) -> None:
            giving_back.set()
            await eventually(the_last_is_sent)
            await super().release(connection, rows)

    def the_last_is_sent() -> asyncio.Future[bool]:
        async def check() -> bool:
            return (await fates(database))[-1].sent

        return asyncio.ensure_future(check())

    outbox = Returning(database)
    async with running(Relay(database, outbox, publisher, settings=_STUCK)):
        await put(database, outbox, "first", "second", "late")
        await eventually(lambda: publisher.keys == ["late"] and len(publisher.most_in_flight) == 3)
    assert [(fate.sent, fate.leased) for fate in await fates(database)] == [(False, False)] * 2 + [(True, False)]
