"""One service's database: transactions over SQLAlchemy's async Core, on SQLite or PostgreSQL.

A caller may rely on these rules:

- `transaction()` is a write transaction. On SQLite it is `BEGIN IMMEDIATE`, so that two writers queue instead of
  failing half way, and writers of this process queue on a lock of ours, which is fair; SQLite's busy handler polls.
- A database that can't serve now, or not over this connection, raises `Unavailable`; values that it can't store raise
  `BadData`; every other error is a bug and is passed on as it is. `sqlstates` has the table. A commit whose answer was
  lost is `Unavailable` too: the inbox protects a retry.
- On PostgreSQL BEGIN and COMMIT are round trips of their own, so `reading()` and `run()` do without them.
- On PostgreSQL each service has a schema of its own, found by `search_path`; statements name no schema.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from typing import Any

from sqlalchemy import Executable, RowMapping
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.messaging import crash_points, database_url
from services.messaging.errors import Unavailable
from services.messaging.storage.engine import BEGIN, make_engine

_SCHEMA = re.compile(r"[a-z][a-z0-9_]{0,62}")


class Database:
    """A pool of connections to one database.

    Args:
        url: `sqlite+aiosqlite:///path` or `postgresql+asyncpg://...`.
        schema: The PostgreSQL schema that holds the tables; ignored on SQLite.
        wait_s: The longest wait for a connection, a lock or a statement, in seconds.

    Raises:
        ValueError: the URL names another kind of database, or the schema is not a plain lower-case name.
    """

    def __init__(self, url: str, *, schema: str | None = None, wait_s: float = 10.0) -> None:
        self.url = database_url.parse(url)
        self.schema = _checked_schema(schema)
        self._wait_s = wait_s
        self._engine = make_engine(self.url, self.schema, wait_s)
        begin = "BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN"
        self._writing = self._engine.execution_options(**{BEGIN: begin})
        # A snapshot for each statement is what READ COMMITTED gives inside a transaction, too.
        single = {} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._single = self._engine.execution_options(**single)
        self._turn = asyncio.Lock()
        self._after_commit: dict[AsyncConnection, list[Callable[[], None]]] = {}

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a SQLite file."""
        return self.url.get_backend_name() == "sqlite"

    @asynccontextmanager
    async def transaction(self, write: StrEnum | None = None) -> AsyncIterator[AsyncConnection]:
        """Open a write transaction: committed at the end of the block, rolled back by any exception.

        Args:
            write: The name of its commit among the durable writes.

        Raises:
            Unavailable: the database is away, locked for too long, or was lost meanwhile.
        """
        async with AsyncExitStack() as stack:
            if self.is_sqlite:
                await stack.enter_async_context(self._writers_turn())
            connection = await stack.enter_async_context(self._connected(self._writing))
            callbacks = self._after_commit[connection] = []
            stack.callback(self._after_commit.pop, connection)
            async with connection.begin():
                yield connection
                crash_points.before(write)
            crash_points.after(write)
        for callback in callbacks:
            callback()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection for reading: one snapshot on SQLite, one per statement on PostgreSQL.

        Raises:
            Unavailable: the database is away, or was lost meanwhile.
        """
        async with self._connected(self._single) as connection:
            yield connection

    async def run(
        self, statement: Executable, write: StrEnum, parameters: Mapping[str, object] | None = None
    ) -> Sequence[RowMapping]:
        """Execute one statement that writes, as a transaction of its own, and return its rows.

        Raises:
            Unavailable: as `transaction`.
        """
        if self.is_sqlite:
            async with self.transaction(write) as connection:
                return (await connection.execute(statement, parameters)).mappings().all()
        async with self._connected(self._single) as connection:
            crash_points.before(write)
            rows = (await connection.execute(statement, parameters)).mappings().all()
            crash_points.after(write)
            return rows

    @asynccontextmanager
    async def driver_connection(self) -> AsyncIterator[Any]:
        """Open a connection of the driver's own class, outside the pool, for what SQL alone can't do.

        Raises:
            Unavailable: the database is away.
        """
        async with self._connected(self._single) as connection:
            raw = await connection.get_raw_connection()
            driver = raw.driver_connection
            raw.detach()
            yield driver

    def after_commit(self, connection: AsyncConnection, callback: Callable[[], None]) -> None:
        """Call `callback` once the transaction that `connection` is in has been committed, and only then."""
        callbacks = self._after_commit.get(connection)
        if callbacks is not None and callback not in callbacks:
            callbacks.append(callback)

    async def close(self) -> None:
        """Close every connection of the pool."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _writers_turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._wait_s):
                await self._turn.acquire()
        except TimeoutError as error:
            raise Unavailable("the database is busy with another writer") from error
        try:
            yield
        finally:
            self._turn.release()

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(engine.connect())
            except (OSError, TimeoutError, PoolTimeoutError) as error:
                where = database_url.described(self.url)
                raise Unavailable(f"no connection to DATABASE_URL={where}: {type(error).__name__}") from error
            yield connection


def _checked_schema(schema: str | None) -> str | None:
    if schema is not None and not _SCHEMA.fullmatch(schema):
        raise ValueError(f"a schema is a plain lower-case name, not {schema!r}")
    return schema
