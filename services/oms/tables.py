"""The orchestrator's tables, beside its outbox and inbox."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Uuid,
)

from services.messaging.storage import Document, RowId, UtcDateTime, inbox_table, ladder_tables, outbox_table

metadata = MetaData()

outbox = outbox_table(metadata)
inbox = inbox_table(metadata)
dead_letters, dead_letter_actions, breakers = ladder_tables(metadata)

orders = Table(
    "orders",
    metadata,
    Column("order_id", String(64), primary_key=True),
    Column("customer_id", String(64), nullable=False),
    Column("items", Document, nullable=False),
    Column("total_amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("payment_method", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    #: The delivery window; null if any time will do.
    Column("deliver_after", UtcDateTime),
    Column("deliver_before", UtcDateTime),
)

sagas = Table(
    "sagas",
    metadata,
    Column("saga_id", String(64), primary_key=True),
    Column("order_id", ForeignKey(orders.c.order_id), nullable=False, unique=True),
    Column("definition", Integer, nullable=False),
    Column("state", String(32), nullable=False),
    Column("status", String(32), nullable=False),
    Column("version", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("command_id", Uuid),
    Column("deadline", UtcDateTime),
    Column("needs_attention", Boolean, nullable=False),
    Column("requested", String(32)),
    Column("reason", String(64)),
    Column("trace_context", Document, nullable=False),
    Column("turn_context", Document),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("phase_began_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
)

# For the sweeper's query and the operator's: few sagas have a deadline, so an index of those alone stays small.
Index(
    "sagas_by_deadline",
    sagas.c.deadline,
    postgresql_where=sagas.c.deadline.is_not(None),
    sqlite_where=sagas.c.deadline.is_not(None),
)
Index("sagas_by_status", sagas.c.status, sagas.c.updated_at)
Index("sagas_by_update", sagas.c.updated_at)

history = Table(
    "saga_history",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("saga_id", ForeignKey(sagas.c.saga_id), nullable=False, index=True),
    Column("sequence", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("input", String(32), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("state_from", String(32), nullable=False),
    Column("state", String(32), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("trace_id", String(32)),
    Column("span_id", String(16)),
    #: The operator who asked for it at the command line, if one did.
    Column("actor", String(64)),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("order_id", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False, index=True),
)

reply_progress = Table(
    "reply_progress",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("read_up_to", UtcDateTime, nullable=False),
)
