"""Alembic's environment of the orchestrator's tables."""

from services.messaging.storage import run_environment

run_environment()
