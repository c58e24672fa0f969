"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.messaging.storage import UtcDateTime, create_inbox_1

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the notifications and the inbox."""
    create_inbox_1()
    op.create_table(
        "notifications",
        sa.Column("event_id", sa.Uuid, primary_key=True),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("saga_id", sa.String(64), nullable=False),
        sa.Column("template", sa.String(32), nullable=False),
        sa.Column("sent_at", UtcDateTime, nullable=False),
    )
    op.create_index("ix_notifications_order_id", "notifications", ["order_id"])
