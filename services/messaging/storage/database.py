"""One service's database: transactions over SQLAlchemy's async Core, on SQLite or PostgreSQL.

The rules that a caller may rely on:

- `transaction()` is a write transaction. On SQLite it is `BEGIN IMMEDIATE`, so that two writers queue instead of
  failing half way, and writers of this process queue on a lock of ours, which is fair where SQLite's busy handler
  polls. The driver's own transaction control is off, as SQLAlchemy's page "Enabling Non-Legacy SQLite Transactional
  Modes" says.
- A database that can't serve now, or not over this connection, raises `Unavailable`; values that it can't store raise
  `BadData`; every other error is a bug and stays what it is. `sqlstates` has the table. A commit whose answer was lost
  is `Unavailable` too: whoever retries meets the inbox.
- On PostgreSQL a BEGIN and a COMMIT are round trips of their own, so what needs none has none: `reading()` and `run()`.
- On PostgreSQL each service lives in a schema of its own, found by `search_path`; statements name no schema.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Connection,
    Executable,
    Insert,
    Row,
    RowMapping,
    Table,
    bindparam,
    event,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, AdaptedConnection, ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from services.messaging import crash_points, database_url
from services.messaging.errors import BadData, ConfigurationError, Unavailable
from services.messaging.storage.clock import database_now
from services.messaging.storage.sqlstates import Verdict, closes, judge, sqlstate

_SCHEMA = re.compile(r"[a-z][a-z0-9_]{0,62}")
_POOL_SIZE = 10
_BEGIN = "sagatrace_begin"
# How often a new SQLite file may be found in the middle of another's switch; 12,000 races never needed a second time.
_SWITCHES = 5

# What PgBouncer and other poolers say to a start-up parameter that they do not pass on.
_STARTUP_PARAMETER = "startup parameter"
_POOLER_HINT = (
    "a connection pooler such as PgBouncer stands before PostgreSQL and does not pass on the startup parameters that "
    "name the schema of each service: let DATABASE_URL name PostgreSQL itself"
)
# SQLITE_BUSY, _LOCKED, _IOERR, _FULL, _CANTOPEN (SQLite, "Result and Error Codes"); extended codes end in these.
_SQLITE_AWAY = frozenset({5, 6, 10, 13, 14})


class Database:
    """A pool of connections to one database.

    Args:
        url: `sqlite+aiosqlite:///path` or `postgresql+asyncpg://...`.
        schema: The PostgreSQL schema that holds the tables; ignored on SQLite.
        wait_s: The longest wait for a connection, a lock or a statement, in seconds.

    Raises:
        ValueError: the URL names another kind of database, or the schema is no plain lower-case name.
    """

    def __init__(self, url: str, *, schema: str | None = None, wait_s: float = 10.0) -> None:
        self.url = database_url.parse(url)
        self.schema = _checked_schema(schema)
        self._wait_s = wait_s
        self._engine = _engine(self.url, self.schema, wait_s)
        begin = "BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN"
        self._writing = self._engine.execution_options(**{_BEGIN: begin})
        # Each statement a snapshot of its own is what READ COMMITTED gives inside of a transaction, too.
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
            write: What its commit is called among the durable writes.

        Raises:
            Unavailable: the database is away, locked for too long, or was lost in between.
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
            Unavailable: the database is away, or was lost in between.
        """
        async with self._connected(self._single) as connection:
            yield connection

    async def run(
        self, statement: Executable, write: StrEnum, parameters: Mapping[str, object] | None = None
    ) -> Sequence[RowMapping]:
        """Execute one statement that writes, as a transaction of its own, and give the rows that it returns.

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
        """Open a connection of the driver's own kind, which is none of the pool's: for what SQL alone can't do.

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


async def insert_once(connection: AsyncConnection, table: Table, **values: object) -> bool:
    """Insert a row unless one with the same primary or unique key is there; say whether it was inserted.

    Two transactions that insert the same key wait for each other, so exactly one of those that commit gets True.
    A value is a parameter, `database_now()`, or any other expression.
    """
    names, now = _names(values)
    statement = _once_insert(connection.dialect.name, table, names, now)
    if len(values) > len(names) + len(now):
        statement = statement.values({name: values[name] for name in values.keys() - {*names, *now}})
    result = await connection.execute(statement, {name: values[name] for name in names})
    return result.rowcount == 1


async def hold_or_insert(
    connection: AsyncConnection,
    table: Table,
    values: Mapping[str, object],
    *,
    counting: str | None = None,
) -> Row[Any]:
    """Lock the row with the same primary key as `values`, inserted if there is none, and give it.

    One statement: in a row that is there the column `counting` goes up by one, or one of its key is written over
    itself; either takes the row's lock. Two transactions that insert the same key wait for each other, and the
    second one gets what the first one has committed.
    """
    names, now = _names(values)
    statement = _holding_insert(connection.dialect.name, table, names, now, counting)
    row: Row[Any] = (await connection.execute(statement, {name: values[name] for name in names})).one()
    return row


# To build a statement costs more than to execute it, so those that are executed for each message are built once.


@cache
def _once_insert(dialect: str, table: Table, names: tuple[str, ...], now: tuple[str, ...]) -> Insert:
    return _plain_insert(dialect, table, names, now).on_conflict_do_nothing()


@cache
def _holding_insert(
    dialect: str, table: Table, names: tuple[str, ...], now: tuple[str, ...], counting: str | None
) -> Executable:
    statement = _plain_insert(dialect, table, names, now)
    keys = list(table.primary_key.columns)
    written: dict[str, ColumnElement[Any]] = {keys[0].name: statement.excluded[keys[0].name]}
    if counting is not None:
        written = {counting: table.c[counting] + 1}
    return statement.on_conflict_do_update(index_elements=keys, set_=written).returning(table)


def _plain_insert(
    dialect: str, table: Table, names: tuple[str, ...], now: tuple[str, ...]
) -> postgresql.Insert | sqlite.Insert:
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    columns = {name: bindparam(name, type_=table.c[name].type) for name in names}
    return insert(table).values(columns | {name: database_now() for name in now})


def _names(values: Mapping[str, object]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tell which columns are parameters, and which get the database's clock."""
    now = tuple(name for name, value in values.items() if isinstance(value, database_now))
    return tuple(name for name, value in values.items() if not isinstance(value, ClauseElement)), now


def _checked_schema(schema: str | None) -> str | None:
    if schema is not None and not _SCHEMA.fullmatch(schema):
        raise ValueError(f"a schema is a plain lower-case name, not {schema!r}")
    return schema


def _engine(url: URL, schema: str | None, wait_s: float) -> AsyncEngine:
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and url.database in {None, "", ":memory:"}:
        raise ValueError("the database URL names no file: a service keeps its state")
    engine = create_async_engine(
        url if is_sqlite else database_url.for_sqlalchemy(url),
        connect_args={} if is_sqlite else _postgresql_options(schema, wait_s) | database_url.connect_arguments(url),
        pool_size=_POOL_SIZE,
        pool_timeout=wait_s,
        hide_parameters=True,
    )
    if is_sqlite:
        _take_over_sqlite_transactions(engine, wait_s)
    elif schema is not None:
        _insist_on_schema(engine, schema)
    event.listen(engine.sync_engine, "handle_error", _raise_by_verdict)
    return engine


def _postgresql_options(schema: str | None, wait_s: float) -> dict[str, Any]:
    milliseconds = str(round(wait_s * 1000))
    settings = {"lock_timeout": milliseconds, "idle_in_transaction_session_timeout": str(round(wait_s * 6000))}
    if schema is not None:
        settings |= {"search_path": schema, "application_name": f"sagatrace-{schema}"}
    return {"timeout": wait_s, "command_timeout": wait_s * 2, "server_settings": settings}


def _insist_on_schema(engine: AsyncEngine, schema: str) -> None:
    """Refuse a connection whose `search_path` is not ours: its statements would meet the tables of somebody else."""

    def connected(connection: AdaptedConnection, _record: object) -> None:
        asked = "SELECT current_setting('search_path')"
        if connection.run_async(lambda driver: driver.fetchval(asked)) != schema:
            raise ConfigurationError(_POOLER_HINT)

    event.listen(engine.sync_engine, "connect", connected)


def _take_over_sqlite_transactions(engine: AsyncEngine, wait_s: float) -> None:
    """Let SQLAlchemy write BEGIN, and set what every connection needs."""

    def connected(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {round(wait_s * 1000)}")
        _switch_to_wal(cursor)
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    def began(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", began)


def _switch_to_wal(cursor: DBAPICursor) -> None:
    """Let readers and a writer of the file go on beside each other, which the file itself remembers.

    Of two connections that switch a new file at the same time SQLite fails one at once, whatever the busy timeout: each
    holds the lock that the other waits for. That one queues as a writer, behind the other, and then finds it switched.
    """
    for _ in range(_SWITCHES):
        with suppress(sqlite3.OperationalError):
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute("COMMIT")
    cursor.execute("PRAGMA journal_mode = WAL")


def _raise_by_verdict(context: ExceptionContext) -> None:
    """Turn a driver's error into what is done about it; SQLAlchemy calls this for each error, of a connect too."""
    error = context.original_exception
    if not isinstance(error, Exception):
        return  # A cancellation closes its connection, too, and stays a cancellation.
    if context.is_disconnect or isinstance(error, OSError | TimeoutError):
        raise Unavailable(f"the database is not available: {type(error).__name__}") from error
    if context.dialect.name == "sqlite":
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _SQLITE_AWAY:
            raise Unavailable(f"the database is not available: {type(error).__name__}") from error
        return
    if closes(error):
        context.is_disconnect = True
    _raise_postgresql(error)


def _raise_postgresql(error: Exception) -> None:
    """Raise what an error of PostgreSQL means, unless it is a bug, which stays what it is."""
    if _STARTUP_PARAMETER in str(error):
        raise ConfigurationError(_POOLER_HINT) from error
    verdict, reason = judge(error)
    if verdict is Verdict.AWAY:
        raise Unavailable(f"the database is not available: {reason} ({sqlstate(error) or 'no SQLSTATE'})") from error
    if verdict is Verdict.BAD_DATA:
        raise BadData(f"the database can't store the message: {reason} ({sqlstate(error) or 'no SQLSTATE'})") from error
