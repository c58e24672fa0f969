"""The entry point of the `sagatrace` command."""

from __future__ import annotations

import os
import sys
from errno import ENOSPC
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn

from services.cli.extras import missing

if TYPE_CHECKING:
    from typer import Typer

_CANNOT_RUN = 2


def main() -> None:
    """Run the command; without a dependency, print what to install and exit with 2."""
    if missing():
        # The demo needs an extra as well: name both at once.
        print(missing("demo") if sys.argv[1:2] == ["demo"] else missing(), file=sys.stderr)
        sys.exit(_CANNOT_RUN)
    app = _app()
    if isinstance(sys.stdout, TextIOWrapper):
        # A record may hold any character, and the terminal's encoding may lack it.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except OSError as error:
        if error.errno != ENOSPC:
            raise
        _fail(error)
    finally:
        _flush()


def _app() -> Typer:
    """Return the command; exit with 2 if a variable that OpenTelemetry reads on its import is wrong."""
    from tracing import InvalidSetting

    try:
        from services.cli.app import app
    except InvalidSetting as error:
        print(f"sagatrace: {error}", file=sys.stderr)
        sys.exit(_CANNOT_RUN)
    return app


def _flush() -> None:
    """Flush standard output; after a failure, drop what is left, which Python would try to write again at exit."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # the reader has seen enough
            _fail(error)


def _fail(error: OSError) -> NoReturn:
    print(f"sagatrace: the output can't be written: {error.strerror}", file=sys.stderr)
    sys.exit(_CANNOT_RUN)


if __name__ == "__main__":
    main()
