"""The durable writes of the audit service, as its crash points name them."""

from __future__ import annotations

from enum import StrEnum


class AuditWrite(StrEnum):
    """Every durable write of the audit service."""

    TRAIL = "trail"
