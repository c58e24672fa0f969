"""The order system: an API and a saga orchestrator, its participants, and the command that runs them."""
