"""The check at startup that every saga in the store can go on: without its definition a saga would be stranded."""

from __future__ import annotations

from services.messaging.errors import ConfigurationError
from services.messaging.storage import Database
from services.oms import store

_MAX_NAMED = 20


async def check_definitions(database: Database) -> None:
    """Check that this program has the definition of every saga that can still move.

    Raises:
        ConfigurationError: it lacks one; the text names the sagas, longest idle first.
        Unavailable: the database can't be reached.
    """
    async with database.reading() as connection:
        found = await store.sagas_without_definition(connection, _MAX_NAMED + 1)
    if not found:
        return
    named = ", ".join(f"{saga_id} (definition {definition})" for saga_id, definition in found[:_MAX_NAMED])
    more = ", and more" if len(found) > _MAX_NAMED else ""
    raise ConfigurationError(
        f"this version lacks the definition of sagas in the store: {named}{more}: "
        "run a version that has it in DEFINITIONS (services/oms/saga.py) until they have ended",
    )
