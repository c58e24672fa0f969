"""The Alembic migrations of notification."""
