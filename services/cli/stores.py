"""A service's database as an operator opens it: it is there, with its tables, or one line says what is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from services.cli.errors import CannotRun
from services.messaging.database import Database
from services.messaging.errors import ConfigurationError, MessagingError
from services.messaging.settings import DatabaseSettings


@asynccontextmanager
async def open_store(service: str) -> AsyncIterator[Database]:
    """Open the database of a service that `DATABASE_URL` names.

    Raises:
        CannotRun: it is away, or has no tables of this version.
    """
    database = Database(DatabaseSettings.read().url_of(service), schema=service)
    try:
        _must_be_there(database, service)
        yield database
    except ConfigurationError:
        raise
    except MessagingError as error:
        raise CannotRun(f"the database of {service}: {error}: see DATABASE_URL") from error
    except DBAPIError as error:
        reason = type(error.orig).__name__
        raise CannotRun(f"the tables of {service} can't be used ({reason}): `sagatrace migrate` makes them") from error
    finally:
        await database.close()


def _must_be_there(database: Database, service: str) -> None:
    # SQLite would make an empty one.
    if database.is_sqlite and not Path(database.url.database or "").is_file():
        raise CannotRun(f"there is no database of {service} at {database.url.database}: see DATABASE_URL")
