r"""Make bytes and text from a record safe to print on a terminal.

A record may hold anything. Control characters move the cursor, rename the window or write to the clipboard, and
bidirectional ones make text look different from what it is. Each is shown as its escape, `\x1b` or `\u202e`, and so is
invalid UTF-8. By Unicode category: C (control, format, surrogate, unassigned), Zl and Zp (line separators).
"""

from __future__ import annotations

import unicodedata

_SEPARATORS = frozenset({"Zl", "Zp"})
_CONTINUED = "…"


def printable(content: bytes | str, limit: int | None = None, *, lines: bool = False) -> str:
    """Return bytes or text as printable text.

    Args:
        content: Bytes or text from a record.
        limit: The number of characters to show, at most; None for all.
        lines: Keep line breaks, for text that is shown as several lines.
    """
    text = content.decode(errors="backslashreplace") if isinstance(content, bytes) else content
    shown = text if limit is None or len(text) <= limit else text[:limit] + _CONTINUED
    return "".join(character if lines and character == "\n" else _escaped(character) for character in shown)


def _escaped(character: str) -> str:
    category = unicodedata.category(character)
    if category.startswith("C") or category in _SEPARATORS:
        return character.encode("unicode_escape").decode()
    return character


def is_text(argument: str) -> bool:
    """Return whether an argument of the command is valid UTF-8 without NUL, so that a database can compare it."""
    return not any("\ud800" <= character <= "\udfff" for character in argument) and "\0" not in argument
