"""The database's clock in SQL, and how a time is stored in a column.

Leases, due times and ages are compared with the clock of the database, never with that of a host: two relays on two
machines then agree on when a lease has expired. PostgreSQL gives the time of the start of the statement: it is stable
within it and so can be compared through an index. SQLite gives it with millisecond resolution, as the same text that
the driver writes for a `datetime`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, DateTime, Float, TypeDecorator, bindparam
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

# What the SQLite dialect writes for a datetime: six decimal places, of which SQLite's own clock fills three.
_SQLITE_FORMAT = "'%Y-%m-%d %H:%M:%f000'"


class UtcDateTime(TypeDecorator[datetime]):
    """An aware `datetime` in UTC: `timestamptz` on PostgreSQL, text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware `datetime` as the column takes it.

        Raises:
            ValueError: the value has no time zone.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what the column holds as an aware `datetime` in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class database_now(FunctionElement[datetime]):  # noqa: N801  SQL functions are written in lower case
    """The database's clock, at the start of the statement."""

    type = UtcDateTime()
    inherit_cache = True


class database_time(FunctionElement[datetime]):  # noqa: N801  SQL functions are written in lower case
    """The database's clock plus a number of seconds, which may be negative, or plus the value of an expression."""

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, seconds: float | ColumnElement[float]) -> None:
        given = isinstance(seconds, ColumnElement)
        super().__init__(seconds if given else bindparam("seconds", seconds, type_=Float(), unique=True))


@compiles(database_now, "postgresql")
def _postgresql_now(_element: database_now, _compiler: SQLCompiler, **_options: object) -> str:
    return "statement_timestamp()"


@compiles(database_now, "sqlite")
def _sqlite_now(_element: database_now, _compiler: SQLCompiler, **_options: object) -> str:
    return f"strftime({_SQLITE_FORMAT}, 'now')"


@compiles(database_time, "postgresql")
def _postgresql_time(element: database_time, compiler: SQLCompiler, **options: object) -> str:
    return f"(statement_timestamp() + make_interval(secs => {compiler.process(element.clauses, **options)}))"


@compiles(database_time, "sqlite")
def _sqlite_time(element: database_time, compiler: SQLCompiler, **options: object) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"strftime({_SQLITE_FORMAT}, 'now', printf('%+.3f seconds', {seconds}))"
