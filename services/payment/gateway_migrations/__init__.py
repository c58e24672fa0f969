"""The Alembic migrations of the simulated payment gateway."""
