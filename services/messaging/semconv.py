"""The span names, attribute keys, metric names and units that the services write beyond those of `tracing`.

OpenTelemetry's conventions have no names for sagas, outboxes and dead letters. A name that is part of a convention, or
that the library writes too, is in `tracing.semconv`.
"""

from __future__ import annotations

from typing import Final

#: The instrumentation scopes: one for each package that writes spans or metrics of its own.
SCOPE_MESSAGING: Final = "sagatrace.messaging"
SCOPE_OMS: Final = "sagatrace.oms"
SCOPE_INVENTORY: Final = "sagatrace.inventory"

# --- spans ----------------------------------------------------------------------------------------------------------
#: How the names begin of the span of a saga's whole life, and of that of a refund after its completion. What follows
#: says how it ended; see `saga_span`.
SPAN_SAGA_ORDER: Final = "saga order"
SPAN_REFUND_ORDER: Final = "refund order"
#: The span of a reservation that is decided after its command was processed.
SPAN_RESERVE_STOCK: Final = "reserve stock"

# --- attributes of a saga -------------------------------------------------------------------------------------------
#: The saga that a span serves; `messaging.message.conversation_id` repeats it on spans of messages.
SAGA_ID: Final = "saga.id"
#: The order that a span serves.
ORDER_ID: Final = "order.id"
#: The step of the saga: `reserve`, `charge`, `refund`, `release`.
SAGA_STEP: Final = "saga.step"
#: How the saga ended: `completed`, `failed`, `canceled`, `refunded`.
SAGA_OUTCOME: Final = "saga.outcome"
#: The saga's state before and after a message was applied.
SAGA_STATE_FROM: Final = "saga.state.from"
SAGA_STATE_TO: Final = "saga.state.to"
#: Where a saga is, and that in one word: `running`, `compensating`, `needs_attention`.
SAGA_STATE: Final = "saga.state"
SAGA_STATUS: Final = "saga.status"
#: What moved the saga: `start`, `cancel`, `timed_out`, a participant's answer.
SAGA_INPUT: Final = "saga.input"
#: What the orchestrator made of a reply: `applied`, `duplicate`, `stale`, `illegal`, `unknown_saga`.
SAGA_VERDICT: Final = "saga.verdict"

#: True on the send and process spans of a command that undoes a step, and the type of the command that it undoes.
SAGA_COMPENSATION: Final = "saga.compensation"
SAGA_COMPENSATES: Final = "saga.compensates"

# --- attributes, events and links of a message ----------------------------------------------------------------------
#: The type of the message that is sent or processed, such as `payment.charge`.
SAGATRACE_MESSAGE_TYPE: Final = "sagatrace.message.type"
#: The type of the reply on the span in which a participant said no, such as `payment.declined`.
SAGATRACE_REPLY_TYPE: Final = "sagatrace.reply.type"
#: True on a process span whose message the inbox had seen before.
SAGATRACE_DUPLICATE: Final = "sagatrace.duplicate"
#: On a message that an operator re-drove: the topic that it first came from, and how often it was re-driven.
SAGATRACE_ORIGINAL_TOPIC: Final = "sagatrace.original.topic"
SAGATRACE_REDRIVES: Final = "sagatrace.redrives"
#: Whole milliseconds that a message waited in the outbox before it was sent.
SAGATRACE_OUTBOX_WAIT_MS: Final = "sagatrace.outbox.wait_ms"
#: On the send of an outbox row that was claimed before: the number of this claim, from 2. The relay that had claimed it
#: did not record that it was sent, but may have sent it.
SAGATRACE_OUTBOX_ATTEMPT: Final = "sagatrace.outbox.attempt"
#: The event of a failed attempt at a message that will be retried, with the attempt's number and the delay in seconds.
EVENT_RETRY: Final = "retry"
RETRY_ATTEMPT: Final = "retry.attempt"
RETRY_DELAY: Final = "retry.delay"
#: The event of a wait for a database or a broker that is away.
EVENT_UNAVAILABLE: Final = "unavailable"
#: `link.type` of a link from a compensating span to the span whose effect it undoes.
COMPENSATES: Final = "compensates"
#: `link.type` of a link from a send of the orchestrator to the process span of the reply that caused it.
LINK_CAUSED_BY: Final = "caused_by"
#: `link.type` of a link from a second attempt to the one before it.
LINK_RETRY_OF: Final = "retry_of"

# --- metrics --------------------------------------------------------------------------------------------------------
#: Counters of the consume loop: failed attempts, attempts that follow one, dead letters, and unknown types skipped.
HANDLER_FAILURES: Final = "sagatrace.consumer.failures"
RETRIES: Final = "sagatrace.consumer.retries"
DEAD_LETTERS: Final = "sagatrace.consumer.dead_letters"
UNKNOWN_MESSAGES: Final = "sagatrace.consumer.unknown"
#: Of a consumer: how often it was assigned partitions, which happens once to each member in each rebalance.
ASSIGNMENTS: Final = "sagatrace.consumer.assignments"
#: Of a group: how many keys wait behind a dead letter.
PARKED_KEYS: Final = "sagatrace.consumer.parked_keys"
#: Of a group's breaker: how often this process tripped it, and whether it is open (1) or closed (0).
BREAKER_TRIPS: Final = "sagatrace.consumer.breaker.trips"
BREAKER_OPEN: Final = "sagatrace.consumer.breaker.open"
#: Of an outbox: attempts to send that failed, messages that are unsent, and how long the oldest of them has waited.
OUTBOX_FAILURES: Final = "sagatrace.outbox.failures"
OUTBOX_UNSENT: Final = "sagatrace.outbox.unsent"
OUTBOX_AGE: Final = "sagatrace.outbox.age"
#: Of an orchestrator: moves by the states they lead from and to, replies by verdict, how long a saga took by its
#: outcome, how many are open, and the age of the oldest of them.
SAGA_MOVES: Final = "sagatrace.saga.moves"
SAGA_REPLIES: Final = "sagatrace.saga.replies"
SAGA_DURATION: Final = "sagatrace.saga.duration"
SAGAS_OPEN: Final = "sagatrace.saga.open"
SAGA_OLDEST_OPEN: Final = "sagatrace.saga.oldest_open"
#: Of an orchestrator: how long ago the earliest deadline passed that has not fired.
SAGA_OVERDUE: Final = "sagatrace.saga.overdue"

ATTEMPTS: Final = "{attempt}"
SAGAS: Final = "{saga}"
MOVES: Final = "{move}"
ASSIGNED: Final = "{assignment}"
TRIPS: Final = "{trip}"
KEYS: Final = "{key}"
BREAKERS: Final = "{breaker}"

#: A saga takes tens of milliseconds, or hours where somebody has to repair something first.
SAGA_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)


def saga_span(outcome: str, reason: str | None = None) -> str:
    """Return the name of the span of a saga's whole life, such as `saga order failed: declined`."""
    return f"{SPAN_SAGA_ORDER} {outcome}" + (f": {reason}" if reason else "")


def request_span(request: str) -> str:
    """Return the name of the span of a request to a running saga, such as `request cancel`."""
    return f"request {request}"


def timeout_span(state: str) -> str:
    """Return the name of the span of a step that timed out, such as `timeout charging`."""
    return f"timeout {state}"
