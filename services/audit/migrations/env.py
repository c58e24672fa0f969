"""What Alembic runs: the environment that all services share."""

from services.messaging.storage import run_environment

run_environment()
