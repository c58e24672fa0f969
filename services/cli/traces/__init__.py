"""Traces as values: what was recorded, whether it is one story, and how it looks."""
