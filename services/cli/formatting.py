"""Format values as a table or as JSON: safe for a terminal, and the same on a pipe."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from services.cli.printable import printable

_GAP = "  "


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows under their column names; no cell is truncated, so that it can be copied."""
    lines = [tuple(columns), *(tuple(cell(value) for value in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (_GAP.join(value.ljust(width) for value, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def cell(value: object) -> str:
    """Return a value as one cell of printable text; `-` if it is None or empty."""
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
    return printable(value if isinstance(value, bytes) else str(value))


def document(value: object) -> str:
    """Return a JSON document in ASCII, which is safe on a terminal too."""
    return json.dumps(value, indent=1, default=str)
