"""The simulated gateway's own tables: somebody else's database, as far as the payment service knows."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, UniqueConstraint, text

from services.messaging.storage import RowId, UtcDateTime

metadata = MetaData()

#: One row for each idempotency key, and what became of it: for ever if it was charged, else until it is pruned.
keys = Table(
    "gateway_keys",
    metadata,
    Column("key", String(128), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("reason", String(64)),
    Column("tries", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)
_not_charged = text("state <> 'charged'")
Index("gateway_keys_pruned", keys.c.updated_at, sqlite_where=_not_charged, postgresql_where=_not_charged)

#: The money that moved, signed: charged is positive. At most one entry of each kind for a key.
entries = Table(
    "gateway_entries",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("key", String(128), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    UniqueConstraint("key", "kind", name="one_entry_per_effect"),
)
