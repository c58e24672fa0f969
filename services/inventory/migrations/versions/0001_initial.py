"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.messaging.storage import Document, RowId, UtcDateTime, create_inbox_1, create_outbox_1

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create stock, reservations and movements, outbox and inbox."""
    create_outbox_1()
    create_inbox_1()
    op.create_table(
        "stock",
        sa.Column("sku", sa.String(64), primary_key=True),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.CheckConstraint("quantity >= 0", name="stock_is_never_negative"),
    )
    _create_reservations()
    op.create_table(
        "movements",
        sa.Column("id", RowId, primary_key=True, autoincrement=True),
        sa.Column("sku", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("saga_id", sa.String(64)),
        sa.Column("step", sa.String(32)),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("saga_id", "step", "sku", "kind", name="one_movement_per_effect"),
    )


def _create_reservations() -> None:
    op.create_table(
        "reservations",
        sa.Column("saga_id", sa.String(64), primary_key=True),
        sa.Column("step", sa.String(32), primary_key=True),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(64)),
        sa.Column("quantities", Document, nullable=False),
        sa.Column("command_id", sa.Uuid),
        sa.Column("sequence", sa.Integer),
        sa.Column("due_at", UtcDateTime),
        sa.Column("trace_context", Document, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
    )
    op.create_index("ix_reservations_updated_at", "reservations", ["updated_at"])
    pending = sa.text("state = 'pending'")
    op.create_index(
        "reservations_due",
        "reservations",
        ["due_at"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
