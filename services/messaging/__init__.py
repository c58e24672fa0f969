"""Reliable delivery over one broker and one database, by which every service sends, receives and stores."""

from services.messaging.consumer import Consumer
from services.messaging.producer import Producer

__all__ = ["Consumer", "Producer"]
