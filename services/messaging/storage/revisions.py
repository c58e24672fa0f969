"""The migrations of the tables that all services have, by number; each service's own migrations call them.

A function, once released, never changes: a change of the tables is a new function here, and a new revision in each
service that calls it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.messaging.storage.clock import UtcDateTime
from services.messaging.storage.tables import Document, RowId


def create_inbox_1() -> None:
    """Create the table of the inbox."""
    op.create_table(
        "inbox",
        sa.Column("consumer_group", sa.String(249), primary_key=True),
        sa.Column("event_id", sa.Uuid, primary_key=True),
        sa.Column("processed_at", UtcDateTime, nullable=False),
    )
    op.create_index("ix_inbox_processed_at", "inbox", ["processed_at"])


def create_outbox_1() -> None:
    """Create the table of the outbox."""
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


def create_dead_letters_1() -> None:
    """Create the tables of dead letters and of operators' actions."""
    op.create_table(
        "dead_letters",
        sa.Column("id", RowId, primary_key=True, autoincrement=True),
        sa.Column("consumer_group", sa.String(249), nullable=False),
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("key_digest", sa.LargeBinary(32)),
        sa.Column("event_id", sa.Uuid),
        sa.Column("event_type", sa.String(64)),
        sa.Column("order_id", sa.String(64)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("error_type", sa.String(512), nullable=False),
        sa.Column("failed_at", UtcDateTime, nullable=False),
        sa.Column("redrives", sa.Integer, nullable=False),
        sa.Column("redriven_at", UtcDateTime),
        sa.Column("closed_at", UtcDateTime),
        sa.Column("outcome", sa.String(16)),
        sa.UniqueConstraint("consumer_group", "topic", "partition", "offset", name="one_row_per_origin"),
        sqlite_autoincrement=True,
    )
    is_open = sa.text("closed_at IS NULL AND key_digest IS NOT NULL")
    key = ["consumer_group", "key_digest", "id"]
    op.create_index("dead_letters_open", "dead_letters", key, sqlite_where=is_open, postgresql_where=is_open)
    op.create_table(
        "dead_letter_actions",
        sa.Column("id", RowId, primary_key=True, autoincrement=True),
        sa.Column("consumer_group", sa.String(249), nullable=False),
        sa.Column("topic", sa.String(249)),
        sa.Column("partition", sa.Integer),
        sa.Column("offset", sa.BigInteger),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("run_id", sa.Uuid, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("reason", sa.String(500)),
        sa.Column("at", UtcDateTime, nullable=False),
    )
    op.create_index("ix_dead_letter_actions_consumer_group", "dead_letter_actions", ["consumer_group"])


def create_breakers_1() -> None:
    """Create the table of tripped breakers."""
    op.create_table(
        "breakers",
        sa.Column("consumer_group", sa.String(249), primary_key=True),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("tripped_at", UtcDateTime, nullable=False),
        sa.Column("probe_at", UtcDateTime, nullable=False),
        sa.Column("trips", sa.Integer, nullable=False),
    )


def _partial_index(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "outbox", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
