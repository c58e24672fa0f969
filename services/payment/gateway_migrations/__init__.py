"""The Alembic migrations of the simulated gateway."""
