"""Updates of many rows in one statement, each row with values of its own.

As with inserts, PostgreSQL takes each column as one array, and SQLite the rows one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Column, Executable, Table, bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.messaging.storage.clock import database_now
from services.messaging.storage.inserts import arrays, columns_of, given_names, values_of


async def update_each(
    connection: AsyncConnection,
    table: Table,
    rows: Sequence[Mapping[str, object]],
    where: Mapping[str, Column[Any]],
) -> int:
    """Update rows that the caller has locked, and return how many there were.

    `where` names the values that identify a row, and the column that each is compared with; all other values are
    written into the columns of their names. The rows have the same names.
    """
    if not rows:
        return 0
    names, now = given_names(rows[0])
    identity = tuple(where.items())
    if connection.dialect.name == "sqlite":
        statement = _update_one(table, names, now, identity)
        return sum([(await connection.execute(statement, values_of(names, row))).rowcount for row in rows])
    statement = _update_many(table, names, now, identity)
    return (await connection.execute(statement, columns_of(names, rows))).rowcount


@cache
def _update_one(
    table: Table, names: tuple[str, ...], now: tuple[str, ...], where: tuple[tuple[str, Column[Any]], ...]
) -> Executable:
    is_row = [column == bindparam(name, type_=column.type) for name, column in where]
    identity = {name for name, _ in where}
    values = {name: bindparam(name, type_=table.c[name].type) for name in names if name not in identity}
    return update(table).where(*is_row).values(values | {name: database_now() for name in now})


@cache
def _update_many(
    table: Table, names: tuple[str, ...], now: tuple[str, ...], where: tuple[tuple[str, Column[Any]], ...]
) -> Executable:
    identity = dict(where)
    given = arrays({name: identity[name] if name in identity else table.c[name] for name in names})
    is_row = [column == given.c[name] for name, column in where]
    values = {name: given.c[name] for name in names if name not in identity}
    return update(table).where(*is_row).values(values | {name: database_now() for name in now})
