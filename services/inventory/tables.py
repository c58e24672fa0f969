"""The inventory's tables, beside its outbox and inbox."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    text,
)

from services.messaging.storage import Document, RowId, UtcDateTime, inbox_table, ladder_tables, outbox_table

metadata = MetaData()

outbox = outbox_table(metadata)
inbox = inbox_table(metadata)
dead_letters, dead_letter_actions, breakers = ladder_tables(metadata)

#: The quantity of each SKU. The check is the last guard: the code never takes more than there is.
stock = Table(
    "stock",
    metadata,
    Column("sku", String(64), primary_key=True),
    Column("quantity", BigInteger, nullable=False),
    CheckConstraint("quantity >= 0", name="stock_is_never_negative"),
)

#: One row for each (saga, step); a row that was released before it was reserved is a tombstone.
reservations = Table(
    "reservations",
    metadata,
    Column("saga_id", String(64), primary_key=True),
    Column("step", String(32), primary_key=True),
    Column("order_id", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(64)),
    Column("quantities", Document, nullable=False),
    #: The command that awaits its reply, and the saga's version in it, while the reservation is pending.
    Column("command_id", Uuid),
    Column("sequence", Integer),
    Column("due_at", UtcDateTime),
    #: The process span of the reserve, for the link from the release.
    Column("trace_context", Document, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False, index=True),
)
_pending = text("state = 'pending'")
Index("reservations_due", reservations.c.due_at, sqlite_where=_pending, postgresql_where=_pending)

#: Each change of the stock, signed: their sum per SKU is the stock. One effect per saga, step, SKU and kind.
movements = Table(
    "movements",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("sku", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("saga_id", String(64)),
    Column("step", String(32)),
    Column("at", UtcDateTime, nullable=False),
    UniqueConstraint("saga_id", "step", "sku", "kind", name="one_movement_per_effect"),
)
