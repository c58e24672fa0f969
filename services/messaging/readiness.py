"""Readiness: whether a service can do its work, and if not, why.

Each part reports under a name of its own; the service is ready while no part has a reason not to be.
"""

from __future__ import annotations


class Readiness:
    """The reasons why a service is not ready, by the name of the part."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def unready(self, part: str, reason: str) -> None:
        """Report that a part can't work; the reason holds no payload."""
        self._reasons[part] = reason

    def ready(self, part: str) -> None:
        """Report that a part works again."""
        self._reasons.pop(part, None)

    def reasons(self) -> dict[str, str]:
        """Give every part that can't work and why; empty when the service is ready."""
        return dict(self._reasons)
