"""The relay on a real database: everything is sent, in order per key, and a key that is stuck is alone in it."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import Column, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

import tracing
from services.messaging.outbox.outbox import Outbox, OutboxRow
from services.messaging.outbox.relay import Relay
from services.messaging.settings import RelaySettings
from services.messaging.storage.database import Database
from tests.support.eventually import eventually
from tests.support.outboxes import (
    Fate,
    expire_leases,
    fates,
    leased_until,
    make_due,
    mark_all_sent,
    put,
)
from tests.support.publishers import KeepingPublisher
from tests.support.relays import Sending, all_sent, running
from tracing.testing import RecordedSpans

# Long enough that nothing here waits for a poll: what is sent was woken.
_NEVER_S = 3600.0
_SETTINGS = RelaySettings(poll_interval=_NEVER_S, first_backoff=0.01, longest_backoff=0.01, drain=5.0)
_STUCK = RelaySettings(poll_interval=0.02, first_backoff=_NEVER_S, longest_backoff=_NEVER_S, drain=0.05)

_SENT = Table("sent_rows", MetaData(), Column("event_id", String(36), primary_key=True))


async def test_everything_is_sent_in_order_per_key(database: Database, outbox: Outbox) -> None:
    """Each row is sent once, a key's rows one after the other, and what the broker said of it is on record."""
    keys = [f"key-{number}" for number in range(12)]
    publisher = KeepingPublisher()
    async with running(Relay(database, outbox, publisher, settings=_SETTINGS)):
        for _ in range(5):
            await put(database, outbox, *keys, *keys)
        await eventually(all_sent(database))
    assert Counter(publisher.keys) == dict.fromkeys(keys, 10)
    for key in keys:
        first, second = keys.index(key), keys.index(key) + len(keys)
        assert publisher.sequences[key] == [first, second] * 5
    assert set(publisher.most_in_flight.values()) == {1}
    assert all(fate.where is not None and not fate.leased for fate in await fates(database))


async def test_what_was_there_before_the_start_is_sent(database: Database, outbox: Outbox) -> None:
    """Rows that a dead process left are sent by the next one, without a wake-up."""
    await put(database, outbox, "a", "b")
    publisher = KeepingPublisher()
    async with running(Relay(database, outbox, publisher, settings=_SETTINGS)):
        await eventually(all_sent(database))
    assert sorted(publisher.keys) == ["a", "b"]


async def test_rows_of_another_process_are_found_by_the_poll(database: Database, outbox: Outbox) -> None:
    """A row of which nothing was heard is sent at the next poll."""
    settings = RelaySettings(poll_interval=0.02)
    publisher = KeepingPublisher()
    silent = Outbox(database, has_relay=True)
    async with running(Relay(database, outbox, publisher, settings=settings)):
        await put(database, silent, "a")
        await eventually(all_sent(database))
    assert publisher.keys == ["a"]


async def test_a_refused_row_blocks_only_its_key_and_alerts(database: Database, outbox: Outbox) -> None:
    """A row that cannot be sent keeps its key waiting, is logged as an error, and every other key goes on."""
    publisher = KeepingPublisher(refused={"bad"})
    with capture_logs() as logs:
        async with running(Relay(database, outbox, publisher, settings=_STUCK)):
            await put(database, outbox, "bad", "bad", "good", "good")
            await eventually(lambda: publisher.keys == ["good", "good"] and logs)
    assert [fate.sent for fate in await fates(database)] == [False, False, True, True]
    assert (await fates(database))[0] == Fate("bad", False, 1, "ConnectionError", False, None)  # noqa: FBT003  a row
    (alert,) = [log for log in logs if log["log_level"] == "error"]
    assert (alert["event"], alert["order_id"], alert["reason"]) == ("outbox.blocked", "bad", "ConnectionError")


async def test_a_send_that_hangs_blocks_only_its_key(database: Database, outbox: Outbox) -> None:
    """While one send waits for its broker, all other keys are sent, and the stuck key's next row waits."""
    publisher = KeepingPublisher()
    publisher.block("stuck")
    async with running(Relay(database, outbox, publisher, settings=_SETTINGS)):
        await put(database, outbox, "stuck", "stuck", "free", "free")
        await eventually(lambda: publisher.keys == ["free", "free"])
        publisher.blocked["stuck"].set()
        await eventually(all_sent(database))
    assert publisher.sequences["stuck"] == [0, 1]


async def test_a_send_has_a_bound(database: Database, outbox: Outbox) -> None:
    """A send that takes longer than its bound has failed, and is tried again."""
    publisher = KeepingPublisher()
    publisher.block("slow")
    settings = RelaySettings(poll_interval=0.01, send_timeout=0.02, lease=60.0, first_backoff=0.01)
    async with running(Relay(database, outbox, publisher, settings=settings)):
        await put(database, outbox, "slow")
        await eventually(lambda: publisher.most_in_flight["slow"] == 1)
        publisher.blocked["slow"].set()
        await eventually(all_sent(database))
    assert publisher.most_in_flight["slow"] == 1


async def test_a_failed_row_is_sent_when_the_broker_is_back(database: Database, outbox: Outbox) -> None:
    """After a failure the row is tried again, and its key's order is kept."""
    publisher = KeepingPublisher(refused={"a"})
    settings = RelaySettings(poll_interval=0.01, first_backoff=0.01, longest_backoff=0.01)
    with capture_logs():
        async with running(Relay(database, outbox, publisher, settings=settings)):
            await put(database, outbox, "a", "a", "a")
            await eventually(lambda: publisher.most_in_flight["a"])
            publisher.refused.clear()
            await make_due(database)
            await eventually(all_sent(database))
    assert publisher.sequences["a"] == [0, 1, 2]


async def test_two_relays_send_each_row_once(database: Database, outbox: Outbox) -> None:
    """Two processes share an outbox: no row is sent twice, and no key has two rows in flight."""
    keys = [f"key-{number}" for number in range(10)]
    publisher = KeepingPublisher()
    settings = RelaySettings(poll_interval=0.01, max_in_flight=3)
    relays = [Relay(database, box, publisher, settings=settings) for box in (outbox, Outbox(database))]
    async with running(relays[0]), running(relays[1]):
        for _ in range(3):
            await put(database, outbox, *keys)
        await eventually(all_sent(database))
    assert Counter(publisher.keys) == dict.fromkeys(keys, 3)
    assert set(publisher.most_in_flight.values()) == {1}


async def test_on_sent_is_part_of_the_marking_transaction(database: Database, outbox: Outbox) -> None:
    """What `on_sent` writes and the mark are committed together, once per row, with partition and offset known."""
    async with database.transaction() as connection:
        await connection.run_sync(_SENT.create)
    seen: list[OutboxRow] = []

    async def on_sent(connection: AsyncConnection, rows: Sequence[OutboxRow]) -> None:
        seen.extend(rows)
        await connection.execute(insert(_SENT), [{"event_id": str(row.event_id)} for row in rows])

    relay = Relay(database, outbox, KeepingPublisher(), on_sent=on_sent, settings=_SETTINGS)
    async with running(relay):
        ids = await put(database, outbox, "a", "a", "b")
        await eventually(all_sent(database))
    async with database.reading() as connection:
        noted = list((await connection.execute(select(_SENT.c.event_id))).scalars())
    assert sorted(noted) == sorted(str(each) for each in ids)
    assert [row.partition for row in seen] == [3, 3, 3]
    assert sorted(row.offset or 0 for row in seen) == [1, 2, 3]


async def test_on_sent_that_fails_ends_the_relay_and_unmarks_the_row(database: Database, outbox: Outbox) -> None:
    """An error in `on_sent` is a bug: the row stays unsent, and the relay's supervisor gets the error."""

    async def on_sent(_connection: AsyncConnection, _rows: Sequence[OutboxRow]) -> None:
        raise LookupError

    relay = Relay(database, outbox, KeepingPublisher(), on_sent=on_sent, settings=_SETTINGS)
    await put(database, outbox, "a")
    with pytest.raises(ExceptionGroup) as raised:
        await asyncio.wait_for(relay.run(), 100)
    assert raised.group_contains(LookupError)
    assert [fate.sent for fate in await fates(database)] == [False]


async def test_a_lease_is_renewed_while_a_row_is_sent(database: Database, outbox: Outbox) -> None:
    """A send that takes longer than a lease keeps its row: no other relay can claim it."""
    publisher = KeepingPublisher()
    publisher.block("a")
    settings = RelaySettings(poll_interval=_NEVER_S, lease=0.3)
    async with running(Relay(database, outbox, publisher, settings=settings)):
        await put(database, outbox, "a")
        await eventually(lambda: publisher.most_in_flight["a"])
        claimed_until = await leased_until(database)

        async def renewed_past_its_claim() -> bool:
            assert await Outbox(database).claim(1, 60.0) == []
            return await leased_until(database) > claimed_until + timedelta(seconds=0.3)

        await eventually(renewed_past_its_claim)
        publisher.blocked["a"].set()
        await eventually(all_sent(database))
    assert publisher.keys == ["a"]


async def test_a_relay_that_lost_its_lease_says_nothing(database: Database, outbox: Outbox) -> None:
    """A send that ends after its lease passed on neither marks the row nor calls `on_sent`."""
    publisher = KeepingPublisher()
    publisher.block("a")
    seen: list[OutboxRow] = []

    async def on_sent(_connection: AsyncConnection, rows: Sequence[OutboxRow]) -> None:
        seen.extend(rows)

    async with running(Relay(database, outbox, publisher, on_sent=on_sent, settings=_SETTINGS)):
        await put(database, outbox, "a")
        await eventually(lambda: publisher.most_in_flight["a"])
        await expire_leases(database)
        (current,) = await Outbox(database).claim(1, 60.0)
        publisher.blocked["a"].set()
        await eventually(lambda: publisher.keys == ["a"])
    assert seen == []
    assert await mark_all_sent(database, outbox, [current]) == [True]


async def test_a_stop_gives_unsent_rows_back(database: Database, outbox: Outbox) -> None:
    """What cannot be sent within the drain time can be claimed at once by the next process."""
    publisher = KeepingPublisher()
    publisher.block("stuck")
    with capture_logs() as logs:
        async with running(Relay(database, outbox, publisher, settings=_STUCK)):
            await put(database, outbox, "stuck", "free")
            await eventually(lambda: publisher.keys == ["free"])
    assert [(fate.sent, fate.leased) for fate in await fates(database)] == [(False, False), (True, False)]
    assert [log["event"] for log in logs] == ["outbox.drain_timeout"]


async def test_what_was_sent_is_recorded_once_the_database_is_back(database: Database, outbox: Outbox) -> None:
    """The database is away while a send ends: the relay waits for it, and does not send again."""
    if not database.is_sqlite:
        pytest.skip("this one locks a file")
    quick = Database(database.url.render_as_string(hide_password=False), wait_s=0.2)
    publisher = KeepingPublisher()
    publisher.block("a")
    with capture_logs() as logs:
        async with running(Relay(quick, outbox, publisher, settings=_SETTINGS)):
            await put(database, outbox, "a")
            await eventually(lambda: publisher.most_in_flight["a"])
            path = str(database.url.database)
            with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
                # In a thread: whoever has the lock now needs this loop to give it back.
                await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
                publisher.blocked["a"].set()
                await eventually(lambda: [log["event"] for log in logs].count("outbox.unrecorded"))
                other.execute("ROLLBACK")
            await eventually(all_sent(database))
    await quick.close()
    assert publisher.keys == ["a"]


async def test_a_send_runs_in_the_context_of_the_span_that_wrote_the_row(database: Database, outbox: Outbox) -> None:
    """Spans under the send are children of the writing span and carry the ids of the row, never those of the writer."""
    with RecordedSpans(instrumented=False) as spans:
        with (
            spans.tracer_provider.get_tracer("test").start_as_current_span("handler"),
            tracing.bind(unrelated="stays here"),
        ):
            (event_id,) = await put(database, outbox, "a")
        async with running(Relay(database, outbox, Sending(), settings=_SETTINGS)):
            await eventually(all_sent(database))
    send, handler = spans.one("send"), spans.one("handler")
    assert spans.children(handler) == [send]
    attributes = dict(send.attributes or {})
    assert 0 <= int(str(attributes.pop("sagatrace.outbox.wait_ms"))) < 30_000
    assert attributes == {
        "saga.id": "saga-of-a",
        "order.id": "a",
        "messaging.message.id": str(event_id),
        "messaging.message.conversation_id": "saga-of-a",
        "sagatrace.message.type": "saga.started",
    }
