"""A list as a table of JSON values in SQL: many rows are one parameter, so the statement does not grow with them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ColumnElement, bindparam, cast, column
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

_VALUE = JSON().with_variant(JSONB(), "postgresql")


def rows_of_json(parameter: str, *types: type[TypeEngine[Any]]) -> tuple[ColumnElement[Any], ...]:
    """Return the columns, of these types, of a table whose rows are the lists in a parameter."""
    row = _json_rows(parameter).table_valued(column("value", _VALUE), name=parameter).c.value
    return tuple(cast(row[at].as_string(), type_) for at, type_ in enumerate(types))


class _json_rows(FunctionElement[Any]):  # noqa: N801  SQL functions are written in lower case
    type = _VALUE
    inherit_cache = True

    def __init__(self, parameter: str) -> None:
        super().__init__(bindparam(parameter, type_=_VALUE))


@compiles(_json_rows, "postgresql")
def _postgresql_rows(element: _json_rows, compiler: SQLCompiler, **options: object) -> str:
    return f"jsonb_array_elements({compiler.process(element.clauses, **options)})"


@compiles(_json_rows, "sqlite")
def _sqlite_rows(element: _json_rows, compiler: SQLCompiler, **options: object) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"
