"""Durations as a user writes them: 90s, 15m, 1h, 2d."""

from __future__ import annotations

import re

from services.cli.errors import CannotRun

_DURATION = re.compile(r"(\d{1,9})([smhd])")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
# A hundred years: what is older has no moment that a database could compare.
_LONGEST_S = 36_525 * 86_400.0


def seconds(duration: str, option: str) -> float:
    """Read a duration: a number, and s, m, h or d.

    Raises:
        CannotRun: it is none; the text names the option.
    """
    read = _DURATION.fullmatch(duration)
    if read is None:
        raise CannotRun(f"{option} takes a duration such as 90s, 15m, 1h or 2d, not {duration!r}")
    found = float(read[1]) * _UNITS[read[2]]
    if found > _LONGEST_S:
        raise CannotRun(f"{option} takes at most a hundred years, 36525d, not {duration!r}")
    return found


def age(seconds: float) -> str:
    """Write how long ago something was, in its largest unit: `45s`, `3m`, `7h`, `12d`."""
    unit = max((unit for unit, size in _UNITS.items() if seconds >= size), key=_UNITS.__getitem__, default="s")
    return f"{int(max(0.0, seconds) // _UNITS[unit])}{unit}"
