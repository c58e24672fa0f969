"""A relay hears of what other processes commit, on PostgreSQL, and loses nothing with what it does not hear."""

import asyncio

import pytest
from sqlalchemy import func, select, text
from structlog.testing import capture_logs

from services.messaging.outbox.outbox import Outbox
from services.messaging.outbox.relay import Relay
from services.messaging.settings import RelaySettings
from services.messaging.storage.database import Database
from tests.support.eventually import eventually
from tests.support.outboxes import event, put
from tests.support.publishers import KeepingPublisher
from tests.support.relays import all_sent, running
from tests.support.statements import counting

# So long that nothing here waits for a poll.
_SETTINGS = RelaySettings(poll_interval=3600.0)


@pytest.mark.databases("postgres")
async def test_rows_of_another_process_are_announced(database: Database, outbox: Outbox) -> None:
    """On PostgreSQL a relay that waits hears of what another process has committed, and of nothing before."""
    publisher = KeepingPublisher()
    async with running(Relay(database, outbox, publisher, settings=_SETTINGS)):
        await eventually(lambda: _listeners(database))
        await put(database, Outbox(database), "a")
        await eventually(all_sent(database))
        async with database.transaction() as connection:
            await Outbox(database).add(connection, "events", event("b"))
            assert publisher.keys == ["a"]
        await eventually(lambda: publisher.keys == ["a", "b"])


@pytest.mark.databases("postgres")
async def test_a_lost_listener_comes_back(database: Database, outbox: Outbox) -> None:
    """When the connection that listens is lost, the relay goes on, and listens again as soon as it can."""
    publisher = KeepingPublisher()
    with capture_logs() as logs:
        async with running(Relay(database, outbox, publisher, settings=_SETTINGS)):
            (first,) = await eventually(lambda: _listeners(database))
            async with database.transaction() as connection:
                # Committed when nobody hears it: found by whoever listens next.
                await Outbox(database).add(connection, "events", event("a"))
                await connection.execute(select(func.pg_terminate_backend(first)))
            await eventually(all_sent(database))
            (second,) = await eventually(lambda: _listeners(database))
            await put(database, Outbox(database), "b")
            await eventually(lambda: publisher.keys == ["a", "b"])
    assert first != second
    assert [log["event"] for log in logs if log.get("loop") == "outbox listener"] == ["loop.unavailable"]


async def test_a_process_whose_relay_runs_announces_nothing(database: Database, outbox: Outbox) -> None:
    """The busy path has no NOTIFY: rows are announced only where no relay runs."""
    relay = Relay(database, outbox, KeepingPublisher(), settings=_SETTINGS)
    with counting(database) as alone:
        await put(database, outbox, "a")
    async with running(relay):
        await eventually(all_sent(database))
        with counting(database) as beside:
            await put(database, outbox, "b")
        await eventually(all_sent(database))
    assert any("pg_notify" in text for text in alone.texts) is not database.is_sqlite
    assert not any("pg_notify" in text for text in beside.texts)


def _listeners(database: Database) -> asyncio.Future[list[int]]:
    """Return the server processes that listen in this database."""

    async def read() -> list[int]:
        query = text(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND (query LIKE 'LISTEN%' OR query = 'SELECT 1')"
        )
        async with database.reading() as connection:
            return list((await connection.execute(query)).scalars())

    return asyncio.ensure_future(read())
