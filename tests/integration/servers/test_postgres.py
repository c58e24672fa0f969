"""PostgreSQL as tests have it: a server of the session, and a database each."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import inspect, text

from services.messaging.errors import Unavailable
from services.messaging.storage.database import Database
from tests.servers.pool import Servers

MakeDatabase = Callable[[str], Awaitable[str]]


async def _value(url: str, statement: str) -> object:
    database = Database(url)
    try:
        async with database.reading() as connection:
            return (await connection.execute(text(statement))).scalar()
    finally:
        await database.close()


@pytest.mark.databases("postgres")
async def test_it_answers(database_url: str) -> None:
    """A new database answers, in UTF-8, and is not the server's own."""
    assert await _value(database_url, "SHOW server_encoding") == "UTF8"
    assert str(await _value(database_url, "SELECT current_database()")).startswith("test_")


async def test_a_copy_has_the_tables_and_nobody_elses_rows(service_database: MakeDatabase) -> None:
    """Two databases of a service both have its tables, and what is written to one is not in the other."""
    first, second = [Database(await service_database("inventory"), schema="inventory") for _ in range(2)]
    async with first.transaction() as connection:
        assert "reservations" in await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        await connection.execute(text("CREATE TABLE mine (x INTEGER)"))
    async with second.reading() as connection:
        assert "mine" not in await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    await first.close()
    await second.close()


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "killed"])
async def test_it_comes_back_with_its_rows(servers: Servers, crash: bool) -> None:  # noqa: FBT001  a parameter of the test
    """A server that was stopped or killed is unavailable, and has what was committed when it is started again."""
    server = servers.postgres()
    database = Database(server.url, wait_s=5)
    async with database.transaction() as connection:
        await connection.execute(text("CREATE TABLE kept AS SELECT 7 AS x"))
    await asyncio.to_thread(server.kill if crash else server.stop)
    with pytest.raises(Unavailable):
        await _value(server.url, "SELECT 1")
    await asyncio.to_thread(server.start)
    assert await _value(server.url, "SELECT x FROM kept") == 7
    await database.close()
