"""The Alembic migrations of the payment service."""
