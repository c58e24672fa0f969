"""Topics, consumer groups, and who reads what: the map of the system.

Every key is the order id, so all messages of one order keep their order within a topic.
"""

from __future__ import annotations

from services.contracts.envelope import Message

ORDER_EVENTS = "oms.order.events"
SAGA_EVENTS = "oms.saga.events"
INVENTORY_COMMANDS = "oms.inventory.commands"
PAYMENT_COMMANDS = "oms.payment.commands"
SAGA_REPLIES = "oms.saga.replies"

ORCHESTRATOR_GROUP = "oms-orchestrator"
INVENTORY_GROUP = "oms-inventory"
PAYMENT_GROUP = "oms-payment"
AUDIT_GROUP = "oms-saga-consumer"
NOTIFICATION_GROUP = "oms-notification"

PARTITIONS = 4

READERS: dict[str, tuple[str, ...]] = {
    ORDER_EVENTS: (AUDIT_GROUP, NOTIFICATION_GROUP),
    SAGA_EVENTS: (AUDIT_GROUP,),
    INVENTORY_COMMANDS: (INVENTORY_GROUP,),
    PAYMENT_COMMANDS: (PAYMENT_GROUP,),
    SAGA_REPLIES: (ORCHESTRATOR_GROUP,),
}
"""The groups that read each topic."""

WRITERS: dict[str, tuple[str, ...]] = {
    ORDER_EVENTS: ("oms",),
    SAGA_EVENTS: ("oms",),
    INVENTORY_COMMANDS: ("oms",),
    PAYMENT_COMMANDS: ("oms",),
    SAGA_REPLIES: ("inventory", "payment"),
}
"""The services that write each topic."""

EVENT_TOPICS = frozenset({ORDER_EVENTS, SAGA_EVENTS})
"""The topics on which an unknown type is skipped and counted; on the others it is a failure."""

COMMAND_TOPICS = frozenset({INVENTORY_COMMANDS, PAYMENT_COMMANDS})
"""The topics on which each message awaits a reply."""

_COMMANDS_OF = {"inventory": INVENTORY_COMMANDS, "payment": PAYMENT_COMMANDS}
_REPLIES = frozenset(
    {
        "inventory.reserved",
        "inventory.rejected",
        "inventory.released",
        "payment.charged",
        "payment.declined",
        "payment.refunded",
        "command.dead_lettered",
    },
)


def topic_of(message: Message) -> str:
    """Return the topic that a message belongs on."""
    return topic_of_type(message.event_type)


def topic_of_type(event_type: str) -> str:
    """Return the topic that messages of a type belong on."""
    if event_type in _REPLIES:
        return SAGA_REPLIES
    family = event_type.partition(".")[0]
    if family in _COMMANDS_OF:
        return _COMMANDS_OF[family]
    return ORDER_EVENTS if family == "order" else SAGA_EVENTS


def retry_topic(group: str) -> str:
    """Return the topic by which an operator re-drives messages to one group alone."""
    return f"{group}.retry"


def dead_letter_topic(group: str) -> str:
    """Return the topic that holds what one group could not process."""
    return f"{group}.dlq"
