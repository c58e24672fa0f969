"""SQL takes values as bound parameters alone: no statement of the product is put together from text."""

import ast
from collections.abc import Iterator

from tests.support.sources import at, parse, python_files

# What takes SQL as text; everything else is SQLAlchemy's expression language, which binds.
_TAKE_TEXT = {"text", "exec_driver_sql", "literal_column", "execute"}
# How many of a file were looked at, and why each holds nothing from outside.
_CHECKED = {
    # The word UPDATE or DELETE, from the line above.
    "services/audit/migrations/versions/0001_initial.py": 1,
    # A state's name, a constant: PostgreSQL uses a partial index only where the literal is in the statement.
    "services/inventory/store.py": 1,
    # A pragma's number is a setting's, rounded to an integer.
    "services/messaging/storage/engine.py": 1,
    # A schema's name, which `_checked_schema` has let through: a plain lower-case word.
    "services/messaging/storage/migrations.py": 1,
}


def test_no_statement_is_put_together_from_text() -> None:
    """Where SQL is given as text, the text is a constant of the source, or a constant that a module names."""
    found: dict[str, int] = {}
    for path in python_files("services"):
        for call in _made_of_pieces(parse(path)):
            found[at(path, call).partition(":")[0]] = found.get(at(path, call).partition(":")[0], 0) + 1
    assert {path: count for path, count in found.items() if count > _CHECKED.get(path, 0)} == {}


def _made_of_pieces(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in _TAKE_TEXT and node.args:
            first = node.args[0]
            is_made = isinstance(first, ast.JoinedStr) or (
                isinstance(first, ast.BinOp) and isinstance(first.op, ast.Add | ast.Mod)
            )
            is_formatted = isinstance(first, ast.Call) and _name(first.func) in {"format", "join", "replace"}
            if is_made or is_formatted:
                yield node


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
