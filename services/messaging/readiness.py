"""Readiness: whether a service can do its work, and if not, why.

Each part reports under its own name, or registers a check that is called each time; the service is ready while no part
has a reason against it.
"""

from __future__ import annotations

from collections.abc import Callable

Check = Callable[[], str | None]


class Readiness:
    """The reasons why a service is not ready, by the name of the part."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._checks: dict[str, Check] = {}

    def unready(self, part: str, reason: str) -> None:
        """Report that a part can't work; the reason holds no payload."""
        self._reasons[part] = reason

    def ready(self, part: str) -> None:
        """Report that a part works again."""
        self._reasons.pop(part, None)

    def watch(self, part: str, check: Check) -> None:
        """Register a check, which returns the reason why a part can't work, or None."""
        self._checks[part] = check

    def reasons(self) -> dict[str, str]:
        """Return every part that can't work, with the reason; empty when the service is ready."""
        found = {part: reason for part, check in self._checks.items() if (reason := check()) is not None}
        return {**found, **self._reasons}
