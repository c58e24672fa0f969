"""The replies of a participant, read from its outbox."""

import json
from dataclasses import dataclass

from sqlalchemy import select

from services.contracts import parse_message
from services.messaging.storage.database import Database
from services.messaging.storage.tables import OUTBOX


@dataclass(frozen=True)
class Reply:
    """One reply."""

    type: str
    saga_id: str
    order_id: str
    sequence: int
    command_id: str
    reason: str | None
    trace_context: dict[str, str]


async def replies_in(database: Database) -> list[Reply]:
    """Read the replies so far, oldest first; each is a valid message."""
    async with database.reading() as connection:
        rows = (await connection.execute(select(OUTBOX).order_by(OUTBOX.c.id))).all()
    return [_reply(row.value, row.trace_context) for row in rows]


def _reply(value: bytes, trace_context: dict[str, str]) -> Reply:
    message, payload = parse_message(value), json.loads(value)["payload"]
    return Reply(
        type=message.event_type,
        saga_id=message.saga_id,
        order_id=message.order_id,
        sequence=message.sequence,
        command_id=payload["command_id"],
        reason=payload.get("reason"),
        trace_context=trace_context,
    )
