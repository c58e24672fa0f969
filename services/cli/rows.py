"""Rows for people: a table on a terminal as on a pipe, each cell harmless and whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from services.cli.printable import printable

_GAP = "  "


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write rows under their columns' names; what a cell holds is cut nowhere, so that it can be copied."""
    lines = [tuple(columns), *(tuple(cell(value) for value in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (_GAP.join(value.ljust(width) for value, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def cell(value: object) -> str:
    """Write a value as one harmless cell; `-` for none."""
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
    return printable(value if isinstance(value, bytes) else str(value))


def document(value: object) -> str:
    """Write a JSON document in ASCII: its escapes are harmless on a terminal, too."""
    return json.dumps(value, indent=1, default=str)
