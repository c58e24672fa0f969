"""The tables of every service with messages: outbox and inbox, dead letters, and the breaker of its group.

The functions add them to a service's metadata, against which its migrations are checked; the names in capitals are the
same tables for use in statements, which name no schema.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.messaging.storage.clock import UtcDateTime

RowId = BigInteger().with_variant(Integer(), "sqlite")
"""A number that the database assigns: 64 bits; on SQLite its own row id."""

Document = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""A JSON value; None is NULL."""


def outbox_table(metadata: MetaData) -> Table:
    """Add the table of messages that are to be sent to `metadata`.

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
    """Add the table of messages that a consumer group has processed to `metadata`."""
    return Table(
        "inbox",
        metadata,
        Column("consumer_group", String(249), primary_key=True),
        Column("event_id", Uuid, primary_key=True),
        Column("processed_at", UtcDateTime, nullable=False, index=True),
    )


def dead_letters_table(metadata: MetaData) -> Table:
    """Add the table of a group's dead letters to `metadata`: one row for each origin, open until `closed_at` is set.

    The id has the order in which the records of a key came. The partial index holds open rows only, and those of
    records with a key.
    """
    table = Table(
        "dead_letters",
        metadata,
        Column("id", RowId, primary_key=True, autoincrement=True),
        Column("consumer_group", String(249), nullable=False),
        #: Where the record first came from.
        Column("topic", String(249), nullable=False),
        Column("partition", Integer, nullable=False),
        Column("offset", BigInteger, nullable=False),
        #: The SHA-256 of the key, so that a key of any size can be looked up; NULL without a key.
        Column("key_digest", LargeBinary(32)),
        Column("event_id", Uuid),
        Column("event_type", String(64)),
        Column("order_id", String(64)),
        #: `failed`, `behind` or `parked`.
        Column("state", String(16), nullable=False),
        Column("error_type", String(512), nullable=False),
        Column("failed_at", UtcDateTime, nullable=False),
        Column("redrives", Integer, nullable=False),
        #: Set while a re-drive is under way; the next failure clears it.
        Column("redriven_at", UtcDateTime),
        Column("closed_at", UtcDateTime),
        #: `processed` or `discarded`.
        Column("outcome", String(16)),
        UniqueConstraint("consumer_group", "topic", "partition", "offset", name="one_row_per_origin"),
        sqlite_autoincrement=True,
    )
    columns = table.c
    is_open = text("closed_at IS NULL AND key_digest IS NOT NULL")
    key = columns.consumer_group, columns.key_digest, columns.id
    Index("dead_letters_open", *key, sqlite_where=is_open, postgresql_where=is_open)
    return table


def dead_letter_actions_table(metadata: MetaData) -> Table:
    """Add the table of operators' actions on dead letters to `metadata`: who, when and why; it only grows."""
    return Table(
        "dead_letter_actions",
        metadata,
        Column("id", RowId, primary_key=True, autoincrement=True),
        Column("consumer_group", String(249), nullable=False, index=True),
        #: The dead letter's origin, or the record that is skipped; NULL for an action on the whole group.
        Column("topic", String(249)),
        Column("partition", Integer),
        Column("offset", BigInteger),
        #: `redrive`, `taken back`, `discard`, `resume` or `skip`.
        Column("action", String(16), nullable=False),
        #: The run that did it.
        Column("run_id", Uuid, nullable=False),
        Column("actor", String(200), nullable=False),
        Column("reason", String(500)),
        Column("at", UtcDateTime, nullable=False),
    )


def breakers_table(metadata: MetaData) -> Table:
    """Add the table of tripped breakers to `metadata`; a closed breaker has no row."""
    return Table(
        "breakers",
        metadata,
        Column("consumer_group", String(249), primary_key=True),
        Column("reason", String(500), nullable=False),
        Column("tripped_at", UtcDateTime, nullable=False),
        #: When records are tried again, one at a time.
        Column("probe_at", UtcDateTime, nullable=False),
        #: How often it has tripped without having been closed in between.
        Column("trips", Integer, nullable=False),
    )


def ladder_tables(metadata: MetaData) -> tuple[Table, Table, Table]:
    """Add the tables of dead letters, operators' actions and tripped breakers to `metadata`."""
    return dead_letters_table(metadata), dead_letter_actions_table(metadata), breakers_table(metadata)


OUTBOX = outbox_table(MetaData())
INBOX = inbox_table(MetaData())
DEAD_LETTERS, DEAD_LETTER_ACTIONS, BREAKERS = ladder_tables(MetaData())
