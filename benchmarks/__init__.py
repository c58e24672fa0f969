"""The measured claims, each a command that prints its ratio."""
