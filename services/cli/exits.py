"""How a command ends: the exit codes, and what the user can mend as one line."""

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
def one_line() -> Iterator[None]:
    """Turn what the user can mend into one line and exit code 2, and an interrupt into 130."""
    try:
        yield
    except (CannotRun, ConfigurationError) as error:
        print(f"sagatrace: {printable(str(error))}", file=sys.stderr)
        raise typer.Exit(CANNOT_RUN) from None
    except KeyboardInterrupt:
        print("sagatrace: interrupted", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def refuse(reason: str) -> typer.Exit:
    """Say why what was asked is not done, and give the exit to raise."""
    print(f"sagatrace: {printable(reason)}", file=sys.stderr)
    return typer.Exit(REFUSED)
