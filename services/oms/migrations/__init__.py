"""The migrations of the orchestrator's tables."""
