"""Durations in the form that a user writes: 90s, 15m, 1h, 2d."""

from __future__ import annotations

import re

from services.cli.errors import CannotRun

_DURATION = re.compile(r"(\d{1,9})([smhd])")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
# A hundred years: a longer one may give a time that a database can't hold.
_LONGEST_S = 36_525 * 86_400.0


def seconds(duration: str, option: str) -> float:
    """Parse a duration, a number with s, m, h or d, and return it in seconds.

    Raises:
        CannotRun: the text is not a duration, or it is too long; the error names the option.
    """
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise CannotRun(f"{option} takes a duration such as 90s, 15m, 1h or 2d, not {duration!r}")
    parsed = float(match[1]) * _UNITS[match[2]]
    if parsed > _LONGEST_S:
        raise CannotRun(f"{option} takes at most a hundred years, 36525d, not {duration!r}")
    return parsed


def age(seconds: float) -> str:
    """Return an age in its largest unit: `45s`, `3m`, `7h`, `12d`."""
    unit = max((unit for unit, size in _UNITS.items() if seconds >= size), key=_UNITS.__getitem__, default="s")
    return f"{int(max(0.0, seconds) // _UNITS[unit])}{unit}"
