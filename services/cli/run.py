"""Run one service in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import StrEnum
from importlib import import_module

from sqlalchemy.exc import DBAPIError

from services.cli.errors import CannotRun
from services.cli.stores import explain
from services.messaging.errors import MessagingError
from tracing import InvalidSetting


class Service(StrEnum):
    """The services, by the names of their packages."""

    OMS = "oms"
    INVENTORY = "inventory"
    PAYMENT = "payment"
    AUDIT = "audit"
    NOTIFICATION = "notification"


def run(service: Service) -> None:
    """Run a service until a signal ends it.

    Raises:
        CannotRun: a setting is wrong, or what it names does not exist.
    """
    main: Callable[[], Coroutine[object, object, None]] = import_module(f"services.{service}.main").main
    try:
        asyncio.run(main())
    except (MessagingError, InvalidSetting, DBAPIError, ExceptionGroup) as error:
        reason = _first(error)
        if (text := explain(reason)) is not None:
            raise CannotRun(f"{service}: its database: {text}: see DATABASE_URL") from error
        if isinstance(reason, MessagingError | InvalidSetting):
            raise CannotRun(f"{service}: {reason}") from error
        raise


def _first(error: Exception) -> Exception:
    """Return the first error that is not a group."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
