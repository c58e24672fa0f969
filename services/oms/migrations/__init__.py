"""The Alembic migrations of the order service."""
