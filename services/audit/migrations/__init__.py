"""The Alembic migrations of audit."""
