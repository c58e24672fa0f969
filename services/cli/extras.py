"""Which extra brings what a command needs. Standard library only: it must run where no extra is installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

MODULES = {
    "services": (
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
    ),
    "demo": ("confluent_kafka",),
}
"""The modules by which an extra is recognised."""


def missing(extras: Iterable[str]) -> str | None:
    """Say in one line what to install so that these extras are there; None if they are."""
    wanted = tuple(extras)
    absent = [module for extra in wanted for module in MODULES[extra] if find_spec(module) is None]
    if not absent:
        return None
    return f"sagatrace: {absent[0]} is missing: pip install 'sagatrace[{','.join(wanted)}]'"
