"""How a relay hears of rows that another process has added: PostgreSQL's NOTIFY, on a connection of its own.

A process with a running relay does not need it: its commits wake its own relay. So only an outbox without a relay
announces its rows, in their transaction, and PostgreSQL delivers the announcement with the commit. That keeps NOTIFY
out of the busy path, where commits would queue for it (each one that notifies takes a lock on the whole database).

Nothing depends on it. A notification that is lost costs the wait for the relay's next poll, and a listener is called
once when it begins, for what came before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.messaging.errors import Unavailable
from services.messaging.storage import Database

# The payload names the schema, because a channel spans the whole database.
_CHANNEL: Final = "sagatrace_outbox"
# How often a silent connection is probed, and how long it may take to answer, in seconds.
_HEARTBEAT_S: Final = 10.0
_ANSWER_S: Final = 5.0

_ANNOUNCE = select(func.pg_notify(_CHANNEL, func.current_schema()))


async def announce(connection: AsyncConnection) -> None:
    """Notify listeners of this transaction's rows once it is committed; do nothing on SQLite."""
    if connection.dialect.name == "postgresql":
        await connection.execute(_ANNOUNCE)


class Listener:
    """Hears of rows that other processes have added.

    Args:
        database: The service's database, on PostgreSQL.
        heard: Called when there are some, and whenever some may have been missed.
    """

    def __init__(self, database: Database, heard: Callable[[], None]) -> None:
        self._database = database
        self._heard = heard

    async def listen(self) -> bool:
        """Listen until the connection is lost.

        Raises:
            Unavailable: the database is away, or the connection was lost.
        """
        async with self._database.driver_connection() as connection:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            try:
                schema = await connection.fetchval("SELECT current_schema()", timeout=_ANSWER_S)

                def notified(_connection: object, _pid: int, _channel: str, payload: str) -> None:
                    if payload == schema:
                        self._heard()

                await connection.add_listener(_CHANNEL, notified)
                self._heard()
                while not await _is_set_within(lost, _HEARTBEAT_S):
                    await connection.fetchval("SELECT 1", timeout=_ANSWER_S)
            except Exception as error:
                # The driver's errors have no common base; whichever it is, the relay polls and this is called again.
                raise Unavailable(f"the connection that listens was lost: {type(error).__name__}") from error
        raise Unavailable("the connection that listens was lost")


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
