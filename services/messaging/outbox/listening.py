"""How a relay hears of rows that another process has added: PostgreSQL's NOTIFY, on a connection of its own.

A process whose relay runs needs none: its commits wake its own relay. So only an outbox without one announces its rows,
in their transaction, and PostgreSQL passes that on with the commit. That keeps NOTIFY out of the busy path, where it
would let commits queue (it takes one lock for the whole database at each commit that notifies).

Nothing rests on it. A notification that is lost, with its connection or before there was one, costs the wait for the
relay's next poll; and whoever begins to listen is woken once, for what came before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.messaging.errors import Unavailable
from services.messaging.storage import Database

# The payload names the schema, because a channel is known in all of a database.
_CHANNEL: Final = "sagatrace_outbox"
# How often a silent connection is asked whether it is still there, and for how long, in seconds.
_HEARTBEAT_S: Final = 10.0
_ANSWER_S: Final = 5.0

_ANNOUNCE = select(func.pg_notify(_CHANNEL, func.current_schema()))


async def announce(connection: AsyncConnection) -> None:
    """Let whoever listens know of this transaction's rows, once it is committed; does nothing on SQLite."""
    if connection.dialect.name == "postgresql":
        await connection.execute(_ANNOUNCE)


class Listener:
    """Hears of rows that others have added.

    Args:
        database: The service's database, on PostgreSQL.
        heard: Called when there are some, and whenever there may have been.
    """

    def __init__(self, database: Database, heard: Callable[[], None]) -> None:
        self._database = database
        self._heard = heard

    async def listen(self) -> bool:
        """Listen for ever.

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
                # The driver's errors have no base of their own; whichever it is, the relay polls and this tries again.
                raise Unavailable(f"the connection that listens was lost: {type(error).__name__}") from error
        raise Unavailable("the connection that listens was lost")


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
