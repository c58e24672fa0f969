"""The trace context of what turned a saga back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.messaging.storage import Document

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the context to the sagas; one that was turned back before goes on below its entry."""
    op.add_column("sagas", sa.Column("turn_context", Document))
