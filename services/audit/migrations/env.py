"""What Alembic runs: the environment that all services share."""

from services.messaging.migrations import run_environment

run_environment()
