"""A group's trip as a database row: obeyed by all members, and by those that start later."""

from __future__ import annotations

from sqlalchemy import delete, select, update

from services.messaging.breaker.breaker import Trip
from services.messaging.breaker.tally import Cooldown
from services.messaging.crash_points import Write
from services.messaging.storage import BREAKERS, Database, database_now, database_time, insert_once

_REASON_LENGTH = 500


class BreakerRow:
    """The row of one group; without a row there is no trip.

    Args:
        database: The service's database.
        group: The consumer group.
    """

    def __init__(self, database: Database, group: str) -> None:
        self._database = database
        self._group = group
        self._is_ours = BREAKERS.c.consumer_group == group

    async def read(self) -> Trip | None:
        """Return the trip, if there is one.

        Raises:
            Unavailable: the database is away.
        """
        query = select(BREAKERS, database_now().label("now")).where(self._is_ours)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Trip(row.reason, (row.probe_at - row.now).total_seconds())

    async def trip(self, reason: str, cooldown: Cooldown) -> Trip:
        """Keep a trip: an existing one stays until its probe is due, and then becomes a longer one.

        Raises:
            Unavailable: the database is away.
        """
        values = {"reason": reason[:_REASON_LENGTH], "tripped_at": database_now()}
        first = {"probe_at": database_time(cooldown.after(1)), "trips": 1}
        async with self._database.transaction(Write.BREAKER_TRIPPED) as connection:
            if not await insert_once(connection, BREAKERS, consumer_group=self._group, **values, **first):
                held = select(BREAKERS.c.trips).where(self._is_ours, BREAKERS.c.probe_at <= database_now())
                trips = (await connection.execute(held.with_for_update())).scalar()
                if trips is not None:
                    longer = {"probe_at": database_time(cooldown.after(trips + 1)), "trips": trips + 1}
                    await connection.execute(update(BREAKERS).where(self._is_ours).values(**values, **longer))
        return await self.read() or Trip(reason, 0.0)

    async def close(self) -> None:
        """Forget the trip.

        Raises:
            Unavailable: the database is away.
        """
        async with self._database.transaction(Write.BREAKER_CLOSED) as connection:
            await connection.execute(delete(BREAKERS).where(self._is_ours))
