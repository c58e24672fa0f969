r"""Foreign bytes and text, made harmless for a terminal.

What stands in a record is anybody's. Control characters move the cursor, rename the window or write into the clipboard,
and bidirectional ones show a text other than it is. Each is shown as its escape, `\x1b` or `\u202e`, and so is what is
no UTF-8. By Unicode's categories: C (controls, formats, surrogates, unassigned), Zl and Zp (separators of lines).
"""

from __future__ import annotations

import unicodedata

_SEPARATORS = frozenset({"Zl", "Zp"})
_CONTINUED = "…"


def printable(foreign: bytes | str, most: int | None = None, *, lines: bool = False) -> str:
    """Show bytes or text as printable text.

    Args:
        foreign: What is to be shown.
        most: The largest number of characters of it; None for all.
        lines: Keep its line breaks, for text that is shown as several lines.
    """
    text = foreign.decode(errors="backslashreplace") if isinstance(foreign, bytes) else foreign
    shown = text if most is None or len(text) <= most else text[:most] + _CONTINUED
    return "".join(character if lines and character == "\n" else _harmless(character) for character in shown)


def _harmless(character: str) -> str:
    category = unicodedata.category(character)
    if category.startswith("C") or category in _SEPARATORS:
        return character.encode("unicode_escape").decode()
    return character


def is_text(given: str) -> bool:
    """Tell whether an argument of the command was UTF-8, and can be compared with anything that is kept."""
    return not any("\ud800" <= letter <= "\udfff" for letter in given) and "\0" not in given
