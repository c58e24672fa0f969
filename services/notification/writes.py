"""The durable writes of the notification service, as its crash points name them."""

from __future__ import annotations

from enum import StrEnum


class NotificationWrite(StrEnum):
    """Every durable write of the notification service."""

    NOTIFICATION = "notification"
