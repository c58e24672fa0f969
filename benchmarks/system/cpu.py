"""CPU time and memory of processes with their descendants, read from /proc; zero where there is no /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
# Fields of /proc/PID/stat after the name in parentheses (proc(5)): parent, user and system time, pages.
_PARENT, _USER, _SYSTEM, _PAGES = 1, 11, 12, 21


def seconds(pid: int) -> float:
    """Return the CPU time of a process and its living descendants, in seconds."""
    ticks = sum(int(fields[_USER]) + int(fields[_SYSTEM]) for fields in _family(pid))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process and its descendants, in bytes."""
    return sum(int(fields[_PAGES]) for fields in _family(pid)) * os.sysconf("SC_PAGE_SIZE")


def _family(pid: int) -> Iterator[list[str]]:
    found = dict(_processes())
    children: dict[int, list[int]] = {}
    for each, fields in found.items():
        children.setdefault(int(fields[_PARENT]), []).append(each)
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        if each in found:
            yield found[each]
        waiting += children.get(each, [])


def _processes() -> Iterator[tuple[int, list[str]]]:
    for folder in _PROC.glob("[0-9]*"):
        try:
            yield int(folder.name), (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # It has just ended.
