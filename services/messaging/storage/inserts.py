"""Inserts that find out whether the row exists already, each in one statement.

Those of many rows take each column as one array on PostgreSQL, so that the text of the statement, by which the server
caches its plan, is the same for any number of rows. SQLite has neither arrays nor round trips: there the rows are
inserted one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ClauseElement,
    Column,
    ColumnElement,
    Executable,
    Row,
    String,
    Table,
    TableValuedAlias,
    Text,
    bindparam,
    column,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from services.messaging.storage.clock import database_now

_Insert = postgresql.Insert | sqlite.Insert


async def insert_once(connection: AsyncConnection, table: Table, **values: object) -> bool:
    """Insert a row unless one with the same primary or unique key exists; return whether it was inserted.

    Two transactions that insert the same key wait for each other, so exactly one of those that commit gets True.
    A value is a parameter, `database_now()`, or any other expression.
    """
    names, now = given_names(values)
    statement = _once(connection.dialect.name, table, names, now)
    if len(values) > len(names) + len(now):
        statement = statement.values({name: values[name] for name in values.keys() - {*names, *now}})
    result = await connection.execute(statement, values_of(names, values))
    return result.rowcount == 1


async def insert_each_once(
    connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, object]], key: Column[Any]
) -> set[Any]:
    """Insert each row unless one with the same primary or unique key exists; return the `key` of those inserted.

    The rows have the same columns. Callers sort them, so that two transactions don't wait for each other.
    """
    names, now = given_names(rows[0])
    if connection.dialect.name == "sqlite":
        one = _once("sqlite", table, names, now).returning(key)
        found = [(await connection.execute(one, values_of(names, row))).scalar_one_or_none() for row in rows]
        return set(found) - {None}
    statement = _each_once(table, names, now, key)
    return set((await connection.execute(statement, columns_of(names, rows))).scalars())


async def hold_or_insert_each(
    connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, object]], *, counting: str | None = None
) -> list[Row[Any]]:
    """Lock and return the row with each primary key in `rows`, which is inserted if there is none.

    This is one statement: in an existing row the column `counting` goes up by one, or a column of the key is written
    over itself; either locks the row. Two transactions that insert the same key wait for each other, and the second one
    gets what the first one has committed. No key is there twice; callers sort them, as in `insert_each_once`.
    """
    names, now = given_names(rows[0])
    if connection.dialect.name == "sqlite":
        statement = _holding("sqlite", table, names, now, counting)
        return [(await connection.execute(statement, values_of(names, row))).one() for row in rows]
    statement = _holding("postgresql", table, names, now, counting)
    return list(await connection.execute(statement, columns_of(names, rows)))


# To build a statement costs more than to execute it, so those that are executed for each message are built once.


@cache
def _once(dialect: str, table: Table, names: tuple[str, ...], now: tuple[str, ...]) -> _Insert:
    return _insert_one(dialect, table, names, now).on_conflict_do_nothing()


@cache
def _each_once(table: Table, names: tuple[str, ...], now: tuple[str, ...], key: Column[Any]) -> Executable:
    return _insert_arrays(table, names, now).on_conflict_do_nothing().returning(key)


@cache
def _holding(
    dialect: str, table: Table, names: tuple[str, ...], now: tuple[str, ...], counting: str | None
) -> Executable:
    many = dialect == "postgresql"
    statement = _insert_arrays(table, names, now) if many else _insert_one(dialect, table, names, now)
    keys = list(table.primary_key.columns)
    written: dict[str, ColumnElement[Any]] = {keys[0].name: statement.excluded[keys[0].name]}
    if counting is not None:
        written = {counting: table.c[counting] + 1}
    return statement.on_conflict_do_update(index_elements=keys, set_=written).returning(table)


def _insert_one(dialect: str, table: Table, names: tuple[str, ...], now: tuple[str, ...]) -> _Insert:
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    columns = {name: bindparam(name, type_=table.c[name].type) for name in names}
    return insert(table).values(columns | {name: database_now() for name in now})


def _insert_arrays(table: Table, names: tuple[str, ...], now: tuple[str, ...]) -> postgresql.Insert:
    """Return an insert whose parameters are the columns, as arrays of the same length."""
    given = arrays({name: table.c[name] for name in names})
    rows = select(*(given.c[name] for name in names), *(database_now() for _ in now))
    return postgresql.insert(table).from_select([*names, *now], rows)


def arrays(names: Mapping[str, Column[Any]]) -> TableValuedAlias:
    """Return parameters that are arrays of the same length as a table, each a column of this type."""
    types = {name: _unbounded(given.type) for name, given in names.items()}
    values = [bindparam(name, type_=postgresql.ARRAY(type_, dimensions=1)) for name, type_ in types.items()]
    columns = [column(name, type_) for name, type_ in types.items()]
    return func.unnest(*values).table_valued(*columns).render_derived(name="given")


def _unbounded(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return a type without its length: a cast to an array of `varchar(n)` would cut a long text without an error."""
    return Text() if isinstance(type_, String) else type_


def values_of(names: Iterable[str], row: Mapping[str, object]) -> dict[str, object]:
    """Return the values of a row by name, without those that the database gives."""
    return {name: row[name] for name in names}


def columns_of(names: Iterable[str], rows: Sequence[Mapping[str, object]]) -> dict[str, list[object]]:
    """Return rows as columns, each a list of its values."""
    return {name: [row[name] for row in rows] for name in names}


def given_names(values: Mapping[str, object]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which columns are parameters, and which get the database's clock."""
    now = tuple(name for name, value in values.items() if isinstance(value, database_now))
    return tuple(name for name, value in values.items() if not isinstance(value, ClauseElement)), now
