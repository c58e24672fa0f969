"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.messaging.storage import RowId, UtcDateTime, create_inbox_1

revision = "0001"
down_revision = None

_SQLITE_TRIGGER = """
CREATE TRIGGER trail_is_append_only_on_{action} BEFORE {action} ON trail
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
"""
_POSTGRESQL_FUNCTION = """
CREATE FUNCTION refuse_to_change_the_trail() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$
"""
_POSTGRESQL_TRIGGER = """
CREATE TRIGGER trail_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trail
FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_the_trail()
"""


def upgrade() -> None:
    """Create the trail, which only grows, and the inbox."""
    create_inbox_1()
    op.create_table(
        "trail",
        sa.Column("id", RowId, primary_key=True, autoincrement=True),
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.Uuid, nullable=False, unique=True),
        sa.Column("event_type", sa.String(64), nullable=False),
        sa.Column("is_known", sa.Boolean, nullable=False),
        sa.Column("saga_id", sa.String(64), nullable=False),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("occurred_at", UtcDateTime, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("trace_id", sa.String(32)),
        sa.Column("recorded_at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("topic", "partition", "offset", name="one_row_per_record"),
    )
    op.create_index("ix_trail_saga_id", "trail", ["saga_id"])
    op.create_index("ix_trail_order_id", "trail", ["order_id"])
    _refuse_changes()


def _refuse_changes() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for action in ("UPDATE", "DELETE"):
            op.execute(_SQLITE_TRIGGER.format(action=action))
    else:
        op.execute(_POSTGRESQL_FUNCTION)
        op.execute(_POSTGRESQL_TRIGGER)
