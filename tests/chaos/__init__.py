"""Chaos: services that are killed and paused on the real parts under a steady load, and what is left of the work."""
