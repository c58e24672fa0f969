"""Inserts that find out whether the row exists already, each in one statement."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import ClauseElement, ColumnElement, Executable, Insert, Row, Table, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from services.messaging.storage.clock import database_now


async def insert_once(connection: AsyncConnection, table: Table, **values: object) -> bool:
    """Insert a row unless one with the same primary or unique key exists; return whether it was inserted.

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
    """Lock and return the row with the same primary key as `values`, which is inserted if there is none.

    This is one statement: in an existing row the column `counting` goes up by one, or a column of the key is written
    over itself; either locks the row. Two transactions that insert the same key wait for each other, and the second one
    gets what the first one has committed.
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
    """Return which columns are parameters, and which get the database's clock."""
    now = tuple(name for name, value in values.items() if isinstance(value, database_now))
    return tuple(name for name, value in values.items() if not isinstance(value, ClauseElement)), now
