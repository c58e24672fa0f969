"""An index for the keys that are pruned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the index of the keys that are not charged, by their age."""
    pruned = sa.text("state <> 'charged'")
    op.create_index("gateway_keys_pruned", "gateway_keys", ["updated_at"], sqlite_where=pruned, postgresql_where=pruned)
