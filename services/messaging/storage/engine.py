"""The engine behind a database: a pool of connections, their options, and what their errors mean.

On SQLite the driver's own transaction control is off, as SQLAlchemy's page "Enabling Non-Legacy SQLite Transactional
Modes" says. On PostgreSQL each connection is asked once for its `search_path`: a pooler may have hidden it.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, AdaptedConnection, ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from services.messaging import database_url
from services.messaging.errors import BadData, ConfigurationError, Unavailable
from services.messaging.storage.sqlstates import Verdict, closes, judge, sqlstate

#: The execution option that says how a transaction of SQLite begins.
BEGIN: Final = "sagatrace_begin"
_POOL_SIZE = 10
# How often a new SQLite file may be met while another connection switches it; 12,000 races never needed a second try.
_SWITCHES = 5

# What PgBouncer and other poolers answer to a startup parameter that they do not pass on.
_STARTUP_PARAMETER = "startup parameter"
_POOLER_HINT = (
    "a connection pooler such as PgBouncer stands before PostgreSQL and does not pass on the startup parameters that "
    "name the schema of each service: let DATABASE_URL name PostgreSQL itself"
)
# SQLITE_BUSY, _LOCKED, _IOERR, _FULL, _CANTOPEN (SQLite, "Result and Error Codes"); extended codes end in these.
_SQLITE_AWAY = frozenset({5, 6, 10, 13, 14})


def make_engine(url: URL, schema: str | None, wait_s: float) -> AsyncEngine:
    """Return an engine for a database; see `Database` for the arguments.

    Raises:
        ValueError: the URL names a SQLite database that is not a file.
    """
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
    """Refuse a connection whose `search_path` is not ours: its statements would use the tables of somebody else."""

    def connected(connection: AdaptedConnection, _record: object) -> None:
        asked = "SELECT current_setting('search_path')"
        if connection.run_async(lambda driver: driver.fetchval(asked)) != schema:
            raise ConfigurationError(_POOLER_HINT)

    event.listen(engine.sync_engine, "connect", connected)


def _take_over_sqlite_transactions(engine: AsyncEngine, wait_s: float) -> None:
    """Let SQLAlchemy issue BEGIN, and set what every connection needs."""

    def connected(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {round(wait_s * 1000)}")
        _switch_to_wal(cursor)
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    def began(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(BEGIN, "BEGIN"))

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", began)


def _switch_to_wal(cursor: DBAPICursor) -> None:
    """Switch the file to WAL, so that readers and a writer do not block each other; the file remembers it.

    Of two connections that switch a new file at the same time SQLite fails one at once, whatever the busy timeout: each
    holds the lock that the other waits for. The failed one queues as a writer, and then finds the file switched.
    """
    for _ in range(_SWITCHES):
        with suppress(sqlite3.OperationalError):
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute("COMMIT")
    cursor.execute("PRAGMA journal_mode = WAL")


def _raise_by_verdict(context: ExceptionContext) -> None:
    """Raise what a driver's error means in its place; SQLAlchemy calls this for each error, of a connect too."""
    error = context.original_exception
    if not isinstance(error, Exception):
        return  # A cancellation closes its connection too, and stays a cancellation.
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
    """Raise what an error of PostgreSQL means, unless it is a bug, which is passed on as it is."""
    if _STARTUP_PARAMETER in str(error):
        raise ConfigurationError(_POOLER_HINT) from error
    verdict, reason = judge(error)
    if verdict is Verdict.AWAY:
        raise Unavailable(f"the database is not available: {reason} ({sqlstate(error) or 'no SQLSTATE'})") from error
    if verdict is Verdict.BAD_DATA:
        raise BadData(f"the database can't store the message: {reason} ({sqlstate(error) or 'no SQLSTATE'})") from error
