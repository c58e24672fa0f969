"""The error of the command: one line that says why it can't run, and names the fix."""

from __future__ import annotations


class CannotRun(Exception):
    """The command can't run; the text is one line for the user, and says what to do."""
