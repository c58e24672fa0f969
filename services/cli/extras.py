"""What an installation of the command lacks. Standard library only: this runs where nothing else is installed."""

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
"""The modules that tell whether the dependencies of `sagatrace-services` are installed."""
_EXTRAS = {"demo": ("confluent_kafka",)}
"""The modules that tell whether an extra is installed."""


def missing(*extras: str) -> str | None:
    """Return one line that says what to install for the base and these extras; None if they are installed."""
    required = [*_NEEDED, *(module for extra in extras for module in _EXTRAS[extra])]
    absent = [module for module in required if find_spec(module) is None]
    if not absent:
        return None
    return f"sagatrace: {absent[0]} is missing: pip install 'sagatrace-services{_in_brackets(extras)}'"


def _in_brackets(extras: tuple[str, ...]) -> str:
    return f"[{','.join(extras)}]" if extras else ""
