"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.messaging.storage import RowId, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the keys and the entries."""
    op.create_table(
        "gateway_keys",
        sa.Column("key", sa.String(128), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(64)),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "gateway_entries",
        sa.Column("id", RowId, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("key", "kind", name="one_entry_per_effect"),
    )
