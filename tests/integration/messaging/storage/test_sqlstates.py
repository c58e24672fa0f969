"""What PostgreSQL's errors mean, provoked on a real server: away, bad data, or a bug."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from services.messaging.errors import BadData, Unavailable
from services.messaging.storage.database import Database
from services.messaging.storage.sqlstates import SQLSTATES, Verdict
from tests.support.databases import SCHEMA

pytestmark = pytest.mark.databases("postgres")

_METADATA = MetaData()
_THINGS = Table("things", _METADATA, Column("name", String(5), primary_key=True), Column("size", Integer))
_RAISES = {Verdict.AWAY: Unavailable, Verdict.BAD_DATA: BadData, Verdict.BUG: DBAPIError}
# A class is raised by its code "000". Success, warnings and no data are no errors, and the driver does not raise them.
_CODES = {code.ljust(5, "0"): verdict for code, (verdict, _) in SQLSTATES.items() if code not in {"00", "01", "02"}}


async def _as_superuser(url: str, *statements: str) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


@pytest.fixture
async def things(database: Database) -> Database:
    """A database with a table of things."""
    async with database.transaction() as connection:
        await connection.run_sync(_METADATA.create_all)
    return database


async def _add(database: Database, name: str, size: int = 1) -> None:
    async with database.transaction() as connection:
        await connection.execute(insert(_THINGS).values(name=name, size=size))


async def _names(database: Database) -> Sequence[str]:
    async with database.reading() as connection:
        return (await connection.execute(select(_THINGS.c.name).order_by(_THINGS.c.name))).scalars().all()


async def test_each_class_of_error_is_raised_as_the_table_says(database: Database) -> None:
    """An error of the server comes out as away, as bad data, or as it was, and the next transaction works."""
    for code, verdict in _CODES.items():
        raising = text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'secret'; END $$")
        with pytest.raises(_RAISES[verdict]) as raised:
            async with database.transaction() as connection:
                await connection.execute(raising)
        if verdict is not Verdict.BUG:
            assert code in str(raised.value)
            assert "secret" not in str(raised.value)
        async with database.transaction() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1, code


async def test_a_read_only_server_is_away_and_the_next_connection_may_be_to_another(things: Database) -> None:
    """While the server takes no writes nothing is to blame, and no connection of that time is kept."""
    name = things.url.database
    url = things.url.render_as_string(hide_password=False)
    await _add(things, "a")
    await _as_superuser(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await things.close()
    with pytest.raises(Unavailable, match="25006"):
        await _add(things, "b")
    await _as_superuser(
        url, "SET default_transaction_read_only = off", f"ALTER DATABASE {name} RESET default_transaction_read_only"
    )
    await _add(things, "b")
    assert await _names(things) == ["a", "b"]


@pytest.fixture
async def as_member(things: Database) -> AsyncIterator[Database]:
    """The same database, opened by a role of its own."""
    url = things.url.render_as_string(hide_password=False)
    role = f"member_{things.url.database}"
    await _as_superuser(
        url,
        f"CREATE ROLE {role} LOGIN PASSWORD 'old'",
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO {role}",
        f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {SCHEMA} TO {role}",
    )
    opened = Database(
        things.url.set(username=role, password="old").render_as_string(hide_password=False), schema=SCHEMA
    )
    yield opened
    await opened.close()
    await _as_superuser(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_a_changed_password_is_away_until_it_is_changed_back(things: Database, as_member: Database) -> None:
    """A password that the server refuses concerns no message; with the right one all goes on."""
    url, role = things.url.render_as_string(hide_password=False), as_member.url.username
    await _add(as_member, "a")
    await _as_superuser(url, f"ALTER ROLE {role} PASSWORD 'new'")
    await as_member.close()
    with pytest.raises(Unavailable, match="28P01"):
        await _add(as_member, "b")
    await _as_superuser(url, f"ALTER ROLE {role} PASSWORD 'old'")
    await _add(as_member, "b")


async def test_a_missing_privilege_is_away(things: Database, as_member: Database) -> None:
    """A privilege that was taken away concerns every message alike, so none is buried for it."""
    url, role = things.url.render_as_string(hide_password=False), as_member.url.username
    await _as_superuser(url, f"REVOKE INSERT ON {SCHEMA}.things FROM {role}")
    with pytest.raises(Unavailable, match="42501"):
        await _add(as_member, "a")
    await _as_superuser(url, f"GRANT INSERT ON {SCHEMA}.things TO {role}")
    await _add(as_member, "a")


async def test_too_many_connections_is_away(things: Database, as_member: Database) -> None:
    """A server without a connection to spare is away."""
    url, role = things.url.render_as_string(hide_password=False), as_member.url.username
    await _as_superuser(url, f"ALTER ROLE {role} CONNECTION LIMIT 0")
    with pytest.raises(Unavailable, match="53300"):
        await _add(as_member, "a")


async def test_a_missing_database_is_away(things: Database) -> None:
    """A database that is being restored under its name is away."""
    missing = Database(things.url.set(database="nowhere").render_as_string(hide_password=False), schema=SCHEMA)
    with pytest.raises(Unavailable, match="3D000"):
        await _add(missing, "a")
    await missing.close()


async def test_a_connection_that_an_operator_ended_is_away_once(things: Database) -> None:
    """A terminated connection costs the transaction that used it, and no other one."""
    url = things.url.render_as_string(hide_password=False)
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    with pytest.raises(Unavailable):  # noqa: PT012  what is raised in a transaction ends it
        async with things.transaction() as connection:
            await connection.execute(insert(_THINGS).values(name="a", size=1))
            await _as_superuser(url, f"{ended} AND pid <> pg_backend_pid()")
            await connection.execute(insert(_THINGS).values(name="b", size=1))
    await _add(things, "c")
    assert await _names(things) == ["c"]


async def test_a_column_that_a_migration_widens_is_away_at_most_once(things: Database) -> None:
    """A statement that was prepared before a migration is prepared anew, on every connection."""
    url = things.url.render_as_string(hide_password=False)
    async with asyncio.TaskGroup() as group:
        for _ in range(3):  # several connections that know the statement
            group.create_task(_read_in_a_transaction(things))
    await _as_superuser(url, f"ALTER TABLE {SCHEMA}.things ALTER COLUMN name TYPE varchar(50)")
    with pytest.raises(Unavailable, match="a migration changed"):
        await _read_in_a_transaction(things)
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(_read_in_a_transaction(things))


async def _read_in_a_transaction(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(select(_THINGS))
        await connection.execute(text("SELECT pg_sleep(0.05)"))


@pytest.mark.parametrize(("name", "size"), [("longer than five", 1), ("nul\0", 1), ("wide", 1 << 40)])
async def test_values_that_the_server_cannot_store_are_bad_data(things: Database, name: str, size: int) -> None:
    """Text that is too long or has a NUL and an integer out of range are the message's fault, and are not shown."""
    with pytest.raises(BadData) as raised:
        await _add(things, name, size)
    assert name not in str(raised.value)
    assert size == 1 or str(size) not in str(raised.value)
