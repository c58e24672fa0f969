"""The `sagatrace` command."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from services.cli.extras import missing

_CANNOT_RUN = 2


def main() -> None:
    """Run the command; where the extra `services` is missing, say what to install and exit with 2."""
    if missing(("services",)):
        # The demo needs both: name both at once.
        print(missing(("services", "demo") if sys.argv[1:2] == ["demo"] else ("services",)), file=sys.stderr)
        sys.exit(_CANNOT_RUN)
    from services.cli.app import app

    if isinstance(sys.stdout, TextIOWrapper):
        # What a record holds is anybody's, and the terminal's encoding may not have it.
        sys.stdout.reconfigure(errors="backslashreplace")
    app()


if __name__ == "__main__":
    main()
