"""The project's own source, read as text and as syntax trees."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(*folders: str) -> list[Path]:
    """Return the Python files under folders of the project, by path."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def parse(path: Path) -> ast.Module:
    """Read a file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(tree: ast.AST) -> Iterator[Function]:
    """Yield all functions and methods, also nested ones."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def at(path: Path, node: ast.AST) -> str:
    """Return where a node is, in the form that editors open."""
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"
