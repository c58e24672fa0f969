"""The transactional outbox: a message is a row of the transaction that causes it, and a relay sends it afterwards."""

from services.messaging.outbox.backlog import backlog_gauges
from services.messaging.outbox.outbox import Outbox, OutboxRow
from services.messaging.outbox.relay import Relay

__all__ = [
    "Outbox",
    "OutboxRow",
    "Relay",
    "backlog_gauges",
]
