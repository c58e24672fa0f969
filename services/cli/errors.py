"""Why the command can't do what it is asked: one line that names the fix."""

from __future__ import annotations


class CannotRun(Exception):
    """The text is one line for the user, and says what to do."""
