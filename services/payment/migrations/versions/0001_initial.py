"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.messaging.storage import Document, UtcDateTime, create_inbox_1, create_outbox_1

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the charges, outbox and inbox."""
    create_outbox_1()
    create_inbox_1()
    op.create_table(
        "charges",
        sa.Column("saga_id", sa.String(64), primary_key=True),
        sa.Column("step", sa.String(32), primary_key=True),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(64)),
        sa.Column("amount", sa.BigInteger),
        sa.Column("currency", sa.String(3)),
        sa.Column("trace_context", Document, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
    )
    op.create_index("ix_charges_updated_at", "charges", ["updated_at"])
