"""The Alembic migrations of payment."""
