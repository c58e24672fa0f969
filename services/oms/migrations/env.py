"""Alembic's environment of the orchestrator's tables."""

from services.messaging.migrations import run_environment

run_environment()
