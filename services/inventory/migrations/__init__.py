"""The Alembic migrations of inventory."""
