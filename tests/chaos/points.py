"""Which service reaches which durable write, and what makes it do so if the ordinary load does not."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from services.audit.writes import AuditWrite
from services.cli.run import Service
from services.inventory.writes import InventoryWrite
from services.messaging.crash_points import Write
from services.notification.writes import NotificationWrite
from services.oms.writes import OmsWrite
from services.payment.writes import PaymentWrite

_CONSUMER = (
    Write.MIGRATION,
    Write.OFFSETS,
    Write.PRUNING,
    Write.DEAD_LETTER,
    Write.DEAD_LETTER_ROW,
    Write.DEAD_LETTER_CLOSED,
    Write.BREAKER_TRIPPED,
    Write.BREAKER_CLOSED,
)
_RELAY = (
    Write.OUTBOX_CLAIM,
    Write.OUTBOX_RENEW,
    Write.OUTBOX_SEND,
    Write.OUTBOX_SETTLE,
    Write.OUTBOX_RELEASE,
)

WRITES: Mapping[Service, tuple[StrEnum, ...]] = {
    Service.OMS: (
        *_CONSUMER,
        *_RELAY,
        OmsWrite.ORDER_PLACED,
        OmsWrite.ORDER_REQUEST,
        OmsWrite.REPLY,
        OmsWrite.REPLY_PROGRESS,
        OmsWrite.TIMEOUT,
    ),
    Service.INVENTORY: (*_CONSUMER, *_RELAY, InventoryWrite.STOCK, InventoryWrite.STOCK_DELAYED),
    Service.PAYMENT: (
        *_CONSUMER,
        *_RELAY,
        PaymentWrite.GATEWAY_CHARGE,
        PaymentWrite.GATEWAY_REFUND,
        PaymentWrite.CHARGE,
        PaymentWrite.REFUND,
    ),
    Service.AUDIT: (*_CONSUMER, AuditWrite.TRAIL),
    Service.NOTIFICATION: (*_CONSUMER, NotificationWrite.NOTIFICATION),
}
"""Every durable write of each service."""

OPERATOR = frozenset({Write.REDRIVE_BEGUN, Write.REDRIVE_TAKEN_BACK, Write.DISCARD, Write.RESUME, Write.SKIP})
"""The writes of an operator's commands, which are no services."""

POISONED = frozenset({Write.DEAD_LETTER, Write.DEAD_LETTER_ROW, Write.BREAKER_TRIPPED})
"""What a record leads to that nobody can read."""

_TOUCHY = {
    "SAGATRACE_CONSUMER_BREAKER_IN_A_ROW": "1",
    "SAGATRACE_CONSUMER_BREAKER_COOLDOWN": "0.1",
    "SAGATRACE_CONSUMER_BREAKER_PROBES": "1",
}

# Seconds. A lease that is renewed often; a timer that is shorter than a late answer; a stop that waits for nothing. A
# breaker that trips at once, and closes with the first record that works.
NEEDS: Mapping[str, Mapping[str, str]] = {
    Write.OUTBOX_RENEW: {"SAGATRACE_RELAY_LEASE": "0.1"},
    Write.OUTBOX_RELEASE: {"SAGATRACE_RELAY_DRAIN": "0.000001"},
    OmsWrite.REPLY_PROGRESS: {"SAGATRACE_STEP_TIMEOUT": "0.4"},
    OmsWrite.TIMEOUT: {"SAGATRACE_STEP_TIMEOUT": "0.4"},
    Write.BREAKER_TRIPPED: _TOUCHY,
    Write.BREAKER_CLOSED: _TOUCHY,
}
"""What a process has to be told, so that it soon comes to a write."""

RARE = frozenset({*POISONED, Write.DEAD_LETTER_CLOSED, Write.OUTBOX_RELEASE, *NEEDS})
"""What the ordinary load does not lead to, or seldom: poison, a re-drive, a stop, a timer that runs out."""
