"""A list as a table of JSON values in SQL: many rows are one parameter, and the statement does not grow with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import JSON, ColumnElement, bindparam, column
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

_VALUE = JSON().with_variant(JSONB(), "postgresql")


def json_rows(rows: Sequence[Any]) -> ColumnElement[Any]:
    """Give the one column of a table that has these JSON values as its rows."""
    return _json_rows(rows).table_valued(column("value", _VALUE), name="given").c.value


class _json_rows(FunctionElement[Any]):  # noqa: N801  SQL functions are written in lower case
    type = _VALUE
    inherit_cache = True

    def __init__(self, rows: Sequence[Any]) -> None:
        super().__init__(bindparam("rows", list(rows), type_=_VALUE, unique=True))


@compiles(_json_rows, "postgresql")
def _postgresql_rows(element: _json_rows, compiler: SQLCompiler, **options: object) -> str:
    return f"jsonb_array_elements({compiler.process(element.clauses, **options)})"


@compiles(_json_rows, "sqlite")
def _sqlite_rows(element: _json_rows, compiler: SQLCompiler, **options: object) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"
