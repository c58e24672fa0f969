"""What an installation of the command lacks. Standard library only: it must run where nothing else is installed."""

from __future__ import annotations

from importlib.util import find_spec

_NEEDED = (
    "aiosqlite",
    "alembic",
    "asyncpg",
    "fastapi",
    "pydantic",
    "pydantic_settings",
    "rich",
    "sqlalchemy",
    "structlog",
    "typer",
    "uuid_utils",
    "uvicorn",
)
"""The modules by which the dependencies of `sagatrace-services` are recognised."""
_EXTRAS = {"demo": ("confluent_kafka",)}
"""The modules by which an extra is recognised."""


def missing(*extras: str) -> str | None:
    """Return one line that says what to install to have these extras, and the base; None if they are there."""
    wanted = [*_NEEDED, *(module for extra in extras for module in _EXTRAS[extra])]
    absent = [module for module in wanted if find_spec(module) is None]
    if not absent:
        return None
    return f"sagatrace: {absent[0]} is missing: pip install 'sagatrace-services{_in_brackets(extras)}'"


def _in_brackets(extras: tuple[str, ...]) -> str:
    return f"[{','.join(extras)}]" if extras else ""
