"""When the customer wants the order delivered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.messaging.storage import UtcDateTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the delivery window to the orders; a program that does not know of it goes on writing orders without one."""
    op.add_column("orders", sa.Column("deliver_after", UtcDateTime))
    op.add_column("orders", sa.Column("deliver_before", UtcDateTime))
