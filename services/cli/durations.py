"""Durations in the form that a user writes, 90s, 15m, 1h, 2d, and as a sentence says them, 0.9 s, 3 days."""

from __future__ import annotations

import re

from services.cli.errors import CannotRun

_DURATION = re.compile(r"(\d{1,9})([smhd])")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
# A hundred years: a longer one may give a time that a database can't hold.
_LONGEST_S = 36_525 * 86_400.0
# Up to which time a unit is used, all in seconds; two of the next larger unit are enough for that one.
_SPOKEN = ((0.095, 1e-3, "ms"), (119.5, 1.0, "s"), (7_170.0, 60.0, "min"), (171_000.0, 3_600.0, "h"))
_TENTHS_S = 9.95


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


def spoken(nanoseconds: int) -> str:
    """Return a duration as a sentence says it, in the unit that suits it: `45 ms`, `0.9 s`, `30 s`, `3 days`."""
    spent_s = max(0, nanoseconds) / 1e9
    for limit, size, unit in _SPOKEN:
        if spent_s < limit:
            return f"{spent_s / size:.0f} {unit}"
        if unit == "ms" and spent_s < _TENTHS_S:
            return f"{spent_s:.1f} s"
    return f"{spent_s / 86_400:.0f} days"
