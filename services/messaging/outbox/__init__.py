"""The transactional outbox: a message is a row of the transaction that causes it, and a relay sends it afterwards."""

from services.messaging.outbox.backlog import backlog_gauges
from services.messaging.outbox.outbox import NewRow, Outbox, OutboxRow
from services.messaging.outbox.relay import OnSent, Relay

__all__ = [
    "NewRow",
    "OnSent",
    "Outbox",
    "OutboxRow",
    "Relay",
    "backlog_gauges",
]
