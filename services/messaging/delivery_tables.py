"""The migrations of outbox and inbox, numbered: what each service's own migrations call.

A number, once released, never changes: a change of the tables is a new function here and a new revision in each service
that calls it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.messaging.clock import UtcDateTime
from services.messaging.tables import Document, RowId


def create_inbox_1() -> None:
    """Create the inbox."""
    op.create_table(
        "inbox",
        sa.Column("consumer_group", sa.String(249), primary_key=True),
        sa.Column("event_id", sa.Uuid, primary_key=True),
        sa.Column("processed_at", UtcDateTime, nullable=False),
    )
    op.create_index("ix_inbox_processed_at", "inbox", ["processed_at"])


def create_outbox_1() -> None:
    """Create the outbox."""
    op.create_table(
        "outbox",
        sa.Column("id", RowId, primary_key=True, autoincrement=True),
        sa.Column("event_id", sa.Uuid, nullable=False, unique=True),
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("event_type", sa.String(64), nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("trace_context", Document, nullable=False),
        sa.Column("saga_id", sa.String(64), nullable=False),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", UtcDateTime, nullable=False),
        sa.Column("lease_token", sa.Uuid),
        sa.Column("leased_until", UtcDateTime),
        sa.Column("failed_at", UtcDateTime),
        sa.Column("last_error", sa.String(200)),
        sa.Column("sent_at", UtcDateTime),
        sa.Column("partition", sa.Integer),
        sa.Column("offset", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    _partial_index("outbox_unsent", ["id"], "sent_at IS NULL")
    _partial_index("outbox_unsent_of_key", ["topic", "key", "id"], "sent_at IS NULL")
    _partial_index("outbox_sent", ["sent_at"], "sent_at IS NOT NULL")


def _partial_index(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "outbox", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
