"""How much a test that makes its own input makes: CI's number, unless the environment asks for more."""

import os


def size(variable: str, default: int) -> int:
    """Read a size; at import, because the tests' environment is scrubbed before they run."""
    return int(os.environ.get(variable) or default)
