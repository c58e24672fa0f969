"""The notification service's tables: sent notices, beside its inbox. It sends no messages, so it has no outbox."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, String, Table, Uuid

from services.messaging.storage import UtcDateTime, inbox_table, ladder_tables

metadata = MetaData()

inbox = inbox_table(metadata)
dead_letters, dead_letter_actions, breakers = ladder_tables(metadata)

notifications = Table(
    "notifications",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("order_id", String(64), nullable=False, index=True),
    Column("saga_id", String(64), nullable=False),
    Column("template", String(32), nullable=False),
    Column("sent_at", UtcDateTime, nullable=False),
)
