"""How a command ends: the exit codes, and one line for an error that the user can fix."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from services.cli.errors import CannotRun
from services.cli.printable import printable
from services.messaging.errors import ConfigurationError

REFUSED = 1
CANNOT_RUN = 2
INTERRUPTED = 130


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn an error that the user can fix into one line and exit code 2, and an interrupt into 130."""
    try:
        yield
    except (CannotRun, ConfigurationError) as error:
        print(f"sagatrace: {printable(str(error))}", file=sys.stderr)
        raise typer.Exit(CANNOT_RUN) from None
    except KeyboardInterrupt:
        print("sagatrace: interrupted", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def refuse(reason: str) -> typer.Exit:
    """Print why the request is refused, and return the exit to raise."""
    print(f"sagatrace: {printable(reason)}", file=sys.stderr)
    return typer.Exit(REFUSED)
