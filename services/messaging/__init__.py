"""Reliable delivery over one broker and one database: what every service sends, receives and keeps with."""

from services.messaging.consumer import Consumer
from services.messaging.producer import Producer

__all__ = ["Consumer", "Producer"]
