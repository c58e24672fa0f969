"""Transactions on a real database, and what happens when it is not there."""

import asyncio
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, String, Table, insert, select, text
from sqlalchemy.exc import IntegrityError

from services.messaging.errors import Unavailable
from services.messaging.storage.clock import UtcDateTime, database_now, database_time
from services.messaging.storage.database import Database
from services.messaging.storage.inserts import insert_once
from tests.support.databases import SCHEMA, create_tables, sqlite_url

_METADATA = MetaData()
_THINGS = Table(
    "things",
    _METADATA,
    Column("name", String(20), primary_key=True),
    Column("at", UtcDateTime),
)


@pytest.fixture
async def things(database: Database) -> Database:
    """A database with a table of things."""
    async with database.transaction() as connection:
        await connection.run_sync(_METADATA.create_all)
    return database


async def _names(database: Database) -> list[str]:
    async with database.reading() as connection:
        return list((await connection.execute(select(_THINGS.c.name).order_by(_THINGS.c.name))).scalars())


async def test_a_transaction_commits_at_its_end_and_rolls_back_on_any_error(things: Database) -> None:
    """All of a block's writes are there after it, or none of them, and the block's own error comes out as it was."""

    async def write(name: str, error: Exception | None = None) -> None:
        async with things.transaction() as connection:
            await connection.execute(insert(_THINGS).values(name=name))
            if error:
                raise error

    await write("kept")
    with pytest.raises(LookupError):
        await write("dropped", LookupError())
    assert await _names(things) == ["kept"]


async def test_writers_take_turns(things: Database) -> None:
    """Transactions that read before they write do not lose each other's updates nor fail: writers queue."""

    async def add_next() -> None:
        async with things.transaction() as connection:
            if not things.is_sqlite:
                await connection.execute(text("LOCK TABLE things"))
            count = len((await connection.execute(select(_THINGS))).all())
            await asyncio.sleep(0)
            await connection.execute(insert(_THINGS).values(name=f"{count:02}"))

    await asyncio.gather(*(add_next() for _ in range(12)))
    assert await _names(things) == [f"{number:02}" for number in range(12)]


async def test_callbacks_run_after_the_commit_only(things: Database) -> None:
    """What waits for a commit is called after it, once, and never for a transaction that rolled back."""
    calls: list[str] = []

    def call() -> None:
        calls.append("called")

    async def commit(error: Exception | None = None) -> None:
        async with things.transaction() as connection:
            things.after_commit(connection, call)
            things.after_commit(connection, call)
            assert calls == []
            if error:
                raise error

    with pytest.raises(LookupError):
        await commit(LookupError())
    assert calls == []
    await commit()
    assert calls == ["called"]


async def test_a_broken_rule_is_not_unavailable(things: Database) -> None:
    """A constraint violation is a bug of ours and stays what it is."""
    with pytest.raises(IntegrityError):
        async with things.transaction() as connection:
            await connection.execute(insert(_THINGS).values([{"name": "same"}, {"name": "same"}]))


async def test_a_row_is_inserted_once(things: Database) -> None:
    """`insert_once` says whether the row is new, and leaves the one that is there as it is."""
    async with things.transaction() as connection:
        assert await insert_once(connection, _THINGS, name="a", at=datetime(2026, 1, 1, tzinfo=UTC)) is True
        assert await insert_once(connection, _THINGS, name="a", at=None) is False
        assert (await connection.execute(select(_THINGS.c.at))).scalar_one() == datetime(2026, 1, 1, tzinfo=UTC)


async def test_moments_are_aware_and_compare_with_the_clock(things: Database) -> None:
    """A moment reads back as it was written, in UTC, and the database's clock is comparable with it."""
    summer = datetime.fromisoformat("2026-07-01T12:00:00.123456+02:00")
    async with things.transaction() as connection:
        await connection.execute(insert(_THINGS).values(name="summer", at=summer))
        await connection.execute(insert(_THINGS).values(name="soon", at=database_time(90.5)))
        await connection.execute(insert(_THINGS).values(name="past", at=database_time(-90.5)))
        ahead = select(_THINGS.c.name).where(_THINGS.c.at > database_now()).order_by(_THINGS.c.name)
        assert list((await connection.execute(ahead)).scalars()) == ["soon"]
        now = (await connection.execute(select(database_now()))).scalar_one()
        moments = {row.name: row.at for row in await connection.execute(select(_THINGS))}
    assert moments["summer"] == datetime(2026, 7, 1, 10, 0, 0, 123456, tzinfo=UTC)
    assert moments["summer"].tzinfo is UTC
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=1)
    assert timedelta(seconds=180) < moments["soon"] - moments["past"] < timedelta(seconds=182)


async def test_a_naive_moment_is_refused(things: Database) -> None:
    """A moment without a time zone does not get into a column."""
    with pytest.raises(Exception, match="time zone"):
        async with things.transaction() as connection:
            await connection.execute(insert(_THINGS).values(name="naive", at=datetime(2026, 1, 1)))  # noqa: DTZ001  the point


async def test_a_locked_database_is_unavailable(tmp_path: Path) -> None:
    """A SQLite file that another process keeps locked is unavailable within the wait, and works again after."""
    database = Database(sqlite_url(tmp_path), wait_s=0.1)
    await create_tables(database, _METADATA)
    with _locked(tmp_path / "service.sqlite"), pytest.raises(Unavailable):
        async with database.transaction():
            pytest.fail("the lock was not respected")
    async with database.transaction() as connection:
        await connection.execute(insert(_THINGS).values(name="after"))
    assert await _names(database) == ["after"]
    await database.close()


async def test_a_writer_that_hangs_makes_the_next_one_unavailable(tmp_path: Path) -> None:
    """The wait for this process's own writer has a bound, too."""
    database = Database(sqlite_url(tmp_path), wait_s=0.05)
    async with database.transaction():
        with pytest.raises(Unavailable):
            async with database.transaction():
                pytest.fail("there were two writers")
    await database.close()


async def test_a_server_that_is_away_is_unavailable() -> None:
    """A PostgreSQL that refuses the connection is unavailable: in a transaction, and when reading."""
    database = Database(f"postgresql+asyncpg://user@127.0.0.1:{_closed_port()}/none", schema="oms", wait_s=1.0)
    with pytest.raises(Unavailable):
        async with database.transaction():
            pytest.fail("there is no server")
    with pytest.raises(Unavailable):
        async with database.reading():
            pytest.fail("there is no server")
    await database.close()


async def test_a_connection_lost_in_a_transaction_is_unavailable(things: Database) -> None:
    """PostgreSQL ends the connection under a transaction: unavailable, and the next one has a new connection."""
    if things.is_sqlite:
        pytest.skip("a file has no connection to lose")

    async def lose() -> None:
        async with things.transaction() as connection:
            await connection.execute(insert(_THINGS).values(name="lost"))
            pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            async with things.reading() as other:
                await other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            await connection.execute(select(_THINGS))

    with pytest.raises(Unavailable):
        await lose()
    assert await _names(things) == []


async def test_a_statement_that_waits_too_long_is_unavailable(things: Database) -> None:
    """PostgreSQL: a lock that is not given, and a statement that does not end, are unavailable within their bounds."""
    if things.is_sqlite:
        pytest.skip("SQLite has one lock, which has a test of its own")
    url = things.url.render_as_string(hide_password=False)
    hasty = Database(url, schema=SCHEMA, wait_s=0.2)
    async with things.transaction() as connection:
        await connection.execute(text("LOCK TABLE things"))
        for statement in ("LOCK TABLE things", "SELECT pg_sleep(30)"):
            with pytest.raises(Unavailable):
                await _execute(hasty, statement)
    assert await _names(hasty) == []
    await hasty.close()


async def test_transactions_that_block_each_other_are_unavailable(things: Database) -> None:
    """PostgreSQL ends a deadlock by failing one side, which may try again; the other side commits."""
    if things.is_sqlite:
        pytest.skip("SQLite has one writer")
    async with things.transaction() as connection:
        await connection.execute(insert(_THINGS).values([{"name": "a"}, {"name": "b"}]))
    both_hold = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> str:
        async with things.transaction() as connection:
            query = select(_THINGS).with_for_update()
            await connection.execute(query.where(_THINGS.c.name == first))
            await both_hold.wait()
            await connection.execute(query.where(_THINGS.c.name == second))
        return "committed"

    results = await asyncio.gather(lock("a", "b"), lock("b", "a"), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Unavailable", "str"]


async def test_sqlite_connections_are_set_up(tmp_path: Path) -> None:
    """Each connection has a write-ahead log, foreign keys, and a bound on its wait for a lock."""
    database = Database(sqlite_url(tmp_path), wait_s=2.5)
    async with database.reading() as connection:
        found = {
            name: (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 2500}
    await database.close()


@pytest.mark.parametrize(
    ("url", "schema"),
    [
        ("mysql+aiomysql://localhost/oms", None),
        ("sqlite:///oms.sqlite", None),
        ("sqlite+aiosqlite://", None),
        ("sqlite+aiosqlite:///:memory:", None),
        ("postgresql+asyncpg://localhost/oms", "oms; DROP TABLE orders"),
        ("postgresql+asyncpg://localhost/oms", "OMS"),
    ],
)
def test_a_database_that_cannot_be_is_refused(url: str, schema: str | None) -> None:
    """Another kind of database, a database in memory, and a schema that is no plain name are errors at construction."""
    with pytest.raises(ValueError, match=r"database URL|schema"):
        Database(url, schema=schema)


async def test_a_new_file_opened_many_times_at_once_is_available(tmp_path: Path) -> None:
    """Of several connections that open a new file at the same time, none gets an error that it is locked."""
    for number in range(40):
        databases = [Database(f"sqlite+aiosqlite:///{tmp_path}/{number}.sqlite") for _ in range(4)]
        await asyncio.gather(*(_execute(database, "SELECT 1") for database in databases))
        for database in databases:
            await database.close()


def test_the_tested_schema_is_a_schema() -> None:
    """The schema of these tests is one that a service could have."""
    assert Database("postgresql+asyncpg://localhost/oms", schema=SCHEMA).schema == SCHEMA


async def _execute(database: Database, statement: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(text(statement))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep a SQLite file locked for writing, as another process would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def _closed_port() -> int:
    """Find a port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
