"""Recorded traces: reading them, checking that a saga is one connected trace, and drawing them."""
