"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.messaging.storage import Document, RowId, UtcDateTime, create_inbox_1, create_outbox_1

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create orders, sagas with their history, idempotency keys, the progress of replies, outbox and inbox."""
    create_outbox_1()
    create_inbox_1()
    _orders()
    _sagas()
    _history()
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False, index=True),
    )
    op.create_table(
        "reply_progress",
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("read_up_to", UtcDateTime, nullable=False),
    )


def _orders() -> None:
    op.create_table(
        "orders",
        sa.Column("order_id", sa.String(64), primary_key=True),
        sa.Column("customer_id", sa.String(64), nullable=False),
        sa.Column("items", Document, nullable=False),
        sa.Column("total_amount", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("payment_method", sa.String(64), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
    )


def _sagas() -> None:
    op.create_table(
        "sagas",
        sa.Column("saga_id", sa.String(64), primary_key=True),
        sa.Column("order_id", sa.String(64), sa.ForeignKey("orders.order_id"), nullable=False, unique=True),
        sa.Column("definition", sa.Integer, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("command_id", sa.Uuid),
        sa.Column("deadline", UtcDateTime),
        sa.Column("needs_attention", sa.Boolean, nullable=False),
        sa.Column("requested", sa.String(32)),
        sa.Column("reason", sa.String(64)),
        sa.Column("trace_context", Document, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("phase_began_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime),
    )
    waiting = sa.text("deadline IS NOT NULL")
    op.create_index("sagas_by_deadline", "sagas", ["deadline"], postgresql_where=waiting, sqlite_where=waiting)
    op.create_index("sagas_by_status", "sagas", ["status", "updated_at"])
    op.create_index("sagas_by_update", "sagas", ["updated_at"])


def _history() -> None:
    op.create_table(
        "saga_history",
        sa.Column("id", RowId, primary_key=True, autoincrement=True),
        sa.Column("saga_id", sa.String(64), sa.ForeignKey("sagas.saga_id"), nullable=False, index=True),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("input", sa.String(32), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("state_from", sa.String(32), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("trace_id", sa.String(32)),
        sa.Column("span_id", sa.String(16)),
    )
