"""The two tables that every service with messages has: its outbox and its inbox.

The builders put them into a service's metadata, from which its migrations are checked; `OUTBOX` and `INBOX` are the
same tables for statements, which name no schema.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from services.messaging.clock import UtcDateTime

RowId = BigInteger().with_variant(Integer(), "sqlite")
"""A number that the database gives: 64 bits, and SQLite's own row id."""

Document = JSON().with_variant(JSONB(), "postgresql")
"""A JSON value."""


def outbox_table(metadata: MetaData) -> Table:
    """Put the table of messages that are to be sent into `metadata`.

    A row is unsent until `sent_at` is set, and leased while `leased_until` is ahead of the database's clock. The
    partial indexes hold unsent rows only, so that a claim costs the same however many sent ones are kept.
    """
    table = Table(
        "outbox",
        metadata,
        Column("id", RowId, primary_key=True, autoincrement=True),
        Column("event_id", Uuid, nullable=False, unique=True),
        Column("topic", String(249), nullable=False),
        Column("key", String(64), nullable=False),
        Column("event_type", String(64), nullable=False),
        Column("value", LargeBinary, nullable=False),
        Column("trace_context", Document, nullable=False),
        Column("saga_id", String(64), nullable=False),
        Column("order_id", String(64), nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("next_attempt_at", UtcDateTime, nullable=False),
        Column("lease_token", Uuid),
        Column("leased_until", UtcDateTime),
        Column("failed_at", UtcDateTime),
        Column("last_error", String(200)),
        Column("sent_at", UtcDateTime),
        Column("partition", Integer),
        Column("offset", BigInteger),
        sqlite_autoincrement=True,
    )
    unsent, sent = text("sent_at IS NULL"), text("sent_at IS NOT NULL")
    columns = table.c
    Index("outbox_unsent", columns.id, sqlite_where=unsent, postgresql_where=unsent)
    Index("outbox_unsent_of_key", columns.topic, columns.key, columns.id, sqlite_where=unsent, postgresql_where=unsent)
    Index("outbox_sent", columns.sent_at, sqlite_where=sent, postgresql_where=sent)
    return table


def inbox_table(metadata: MetaData) -> Table:
    """Put the table of messages that a consumer group has processed into `metadata`."""
    return Table(
        "inbox",
        metadata,
        Column("consumer_group", String(249), primary_key=True),
        Column("event_id", Uuid, primary_key=True),
        Column("processed_at", UtcDateTime, nullable=False, index=True),
    )


OUTBOX = outbox_table(MetaData())
INBOX = inbox_table(MetaData())
