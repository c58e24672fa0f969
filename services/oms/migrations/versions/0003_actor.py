"""The operator who asked for a move."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the operator to the saga history."""
    op.add_column("saga_history", sa.Column("actor", sa.String(64)))
