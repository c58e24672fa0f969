"""The script that Alembic runs for each upgrade: the environment that all services share."""

from services.messaging.storage import run_environment

run_environment()
