"""The measured claims: each benchmark is a command that prints its figures."""
