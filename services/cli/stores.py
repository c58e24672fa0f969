"""Open a service's database for an operator: it exists and has its tables, or one line says what is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from services.cli.errors import CannotRun
from services.messaging.errors import ConfigurationError, MessagingError
from services.messaging.settings import DatabaseSettings
from services.messaging.storage import Database, sqlstate

_MIGRATE = "its tables are not those of this version: run `sagatrace migrate`"
# SQLSTATE classes and codes (PostgreSQL, appendix A); SQLite says "no such table".
_STATES = {
    "28": "the user or the password is refused",
    "3D000": "there is no database of this name",
    "3F000": _MIGRATE,
    "42P01": _MIGRATE,
    "42703": _MIGRATE,
}


@asynccontextmanager
async def open_store(service: str) -> AsyncIterator[Database]:
    """Open the database of a service that `DATABASE_URL` names.

    Raises:
        CannotRun: it is unavailable, or does not have the tables of this version.
    """
    database = Database(DatabaseSettings.read().url_of(service), schema=service)
    try:
        _check_exists(database, service)
        yield database
    except ConfigurationError:
        raise
    except MessagingError as error:
        raise CannotRun(f"the database of {service}: {explain(error) or error}: see DATABASE_URL") from error
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        reason = explain(error) or f"it answers with {type(error.orig).__name__} {state}".rstrip()
        raise CannotRun(f"the database of {service}: {reason}: see DATABASE_URL") from error
    finally:
        await database.close()


def explain(error: Exception) -> str | None:
    """Return what a database error, or one that it caused, means to the operator; None if it is not known."""
    state = sqlstate(error)
    known = next((text for prefix, text in _STATES.items() if state.startswith(prefix)), None)
    has_no_table = isinstance(error, DBAPIError) and "no such" in str(error.orig)
    return _MIGRATE if known is None and has_no_table else known


def _check_exists(database: Database, service: str) -> None:
    # SQLite would create an empty one.
    if database.is_sqlite and not Path(database.url.database or "").is_file():
        raise CannotRun(f"there is no database of {service} at {database.url.database}: see DATABASE_URL")
