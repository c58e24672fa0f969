"""The tests: unit (no I/O), property, integration (a real broker, a real database), e2e (real processes)."""
