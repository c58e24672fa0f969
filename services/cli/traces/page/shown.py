"""Text of a span as HTML: nothing in it becomes markup, moves other text, or is invisible."""

from __future__ import annotations

from html import escape

from services.cli.printable import printable


def shown(text: str) -> str:
    """Return text as HTML, for an element or an attribute; a control character is shown as its escape."""
    return escape(text if text.isprintable() else printable(text, lines=True))
