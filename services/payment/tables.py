"""The payment service's tables, beside its outbox and inbox."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, String, Table

from services.messaging.storage import Document, UtcDateTime, inbox_table, ladder_tables, outbox_table

metadata = MetaData()

outbox = outbox_table(metadata)
inbox = inbox_table(metadata)
dead_letters, dead_letter_actions, breakers = ladder_tables(metadata)

#: One row for each (saga, step); a row that was refunded before it was charged is a tombstone, and has no amount.
charges = Table(
    "charges",
    metadata,
    Column("saga_id", String(64), primary_key=True),
    Column("step", String(32), primary_key=True),
    Column("order_id", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(64)),
    Column("amount", BigInteger),
    Column("currency", String(3)),
    #: The process span of the charge, for the link from the refund.
    Column("trace_context", Document, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False, index=True),
)
