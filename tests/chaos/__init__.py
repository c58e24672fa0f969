"""Chaos: services are killed and paused on the real servers under a steady load, and then the work is checked."""
