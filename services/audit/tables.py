"""The audit service's tables: the trail, beside its inbox. It sends no messages, so it has no outbox."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    Uuid,
)

from services.messaging.storage import RowId, UtcDateTime, inbox_table, ladder_tables

metadata = MetaData()

inbox = inbox_table(metadata)
dead_letters, dead_letter_actions, breakers = ladder_tables(metadata)

#: Every event as it came, byte for byte. A trigger refuses to change or delete a row.
trail = Table(
    "trail",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("event_id", Uuid, nullable=False, unique=True),
    Column("event_type", String(64), nullable=False),
    #: Whether this version knows the type: what it does not know is kept all the same.
    Column("is_known", Boolean, nullable=False),
    Column("saga_id", String(64), nullable=False, index=True),
    Column("order_id", String(64), nullable=False, index=True),
    Column("sequence", Integer, nullable=False),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("value", LargeBinary, nullable=False),
    #: The trace that the event is part of, 32 hexadecimal digits.
    Column("trace_id", String(32)),
    Column("recorded_at", UtcDateTime, nullable=False),
    UniqueConstraint("topic", "partition", "offset", name="one_row_per_record"),
)
