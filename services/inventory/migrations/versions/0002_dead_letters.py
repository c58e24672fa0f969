"""The tables of dead letters and breakers."""

from __future__ import annotations

from services.messaging.storage import create_breakers_1, create_dead_letters_1

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the dead letters, the actions of operators on them, and the breakers."""
    create_dead_letters_1()
    create_breakers_1()
