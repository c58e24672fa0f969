"""Every span name, attribute key, metric name and unit that `tracing` writes.

The names are those of the OpenTelemetry semantic conventions 1.44 (docs/messaging/messaging-spans.md,
messaging-metrics.md, kafka.md), the newest with Python constants. 1.45 gives five of them new names; which are written
is the user's choice (`NAMES`, OTEL_SEMCONV_STABILITY_OPT_IN).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from opentelemetry.semconv._incubating.attributes import (
    host_attributes,
    messaging_attributes,
    server_attributes,
    service_attributes,
)
from opentelemetry.semconv._incubating.metrics import messaging_metrics
from opentelemetry.semconv.attributes import error_attributes, exception_attributes
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.util.types import AttributeValue

VERSION: Final = "1.44.0"
SCHEMA_URL: Final = Schemas.V1_44_0.value

#: The instrumentation scope of every span and metric of this package.
SCOPE: Final = "sagatrace.tracing"

# --- attributes of the convention -----------------------------------------------------------------------------------
MESSAGING_OPERATION_NAME: Final = messaging_attributes.MESSAGING_OPERATION_NAME
MESSAGING_OPERATION_TYPE: Final = messaging_attributes.MESSAGING_OPERATION_TYPE
MESSAGING_DESTINATION_NAME: Final = messaging_attributes.MESSAGING_DESTINATION_NAME
MESSAGING_DESTINATION_PARTITION_ID: Final = messaging_attributes.MESSAGING_DESTINATION_PARTITION_ID
MESSAGING_CONSUMER_GROUP_NAME: Final = messaging_attributes.MESSAGING_CONSUMER_GROUP_NAME
MESSAGING_BATCH_MESSAGE_COUNT: Final = messaging_attributes.MESSAGING_BATCH_MESSAGE_COUNT
MESSAGING_CLIENT_ID: Final = messaging_attributes.MESSAGING_CLIENT_ID
MESSAGING_MESSAGE_ID: Final = messaging_attributes.MESSAGING_MESSAGE_ID
MESSAGING_MESSAGE_CONVERSATION_ID: Final = messaging_attributes.MESSAGING_MESSAGE_CONVERSATION_ID
SERVER_ADDRESS: Final = server_attributes.SERVER_ADDRESS
SERVER_PORT: Final = server_attributes.SERVER_PORT
SERVICE_NAME: Final = service_attributes.SERVICE_NAME
SERVICE_VERSION: Final = service_attributes.SERVICE_VERSION
SERVICE_NAMESPACE: Final = service_attributes.SERVICE_NAMESPACE
SERVICE_INSTANCE_ID: Final = service_attributes.SERVICE_INSTANCE_ID
HOST_ID: Final = host_attributes.HOST_ID
HOST_NAME: Final = host_attributes.HOST_NAME
HOST_IP: Final = host_attributes.HOST_IP
ERROR_TYPE: Final = error_attributes.ERROR_TYPE
EXCEPTION_EVENT: Final = "exception"
EXCEPTION_TYPE: Final = exception_attributes.EXCEPTION_TYPE
EXCEPTION_STACKTRACE: Final = exception_attributes.EXCEPTION_STACKTRACE

#: The one value of the messaging system here.
KAFKA: Final = messaging_attributes.MessagingSystemValues.KAFKA.value

#: Jaeger's own name for a process's address, by which it tells hosts apart (docs/tracing/configure.md, "The resource").
JAEGER_IP: Final = "ip"

# --- attributes of the convention that have another name in 1.45 ----------------------------------------------------


class Names(NamedTuple):
    """The names of the attributes that 1.45 renames, and the schema of the spans and metrics that have them."""

    schema_url: str
    system: str
    offset: str
    message_key: str
    tombstone: str
    cluster_id: str
    #: Empty, or the names under which the same values are written once more.
    twins: Mapping[str, str]

    def add_twins(self, attributes: dict[str, AttributeValue]) -> None:
        """Write what has a second name under that, too."""
        attributes.update({twin: attributes[name] for name, twin in self.twins.items() if name in attributes})


_OLD: Final = Names(
    schema_url=SCHEMA_URL,
    system=messaging_attributes.MESSAGING_SYSTEM,
    offset=messaging_attributes.MESSAGING_KAFKA_OFFSET,
    message_key=messaging_attributes.MESSAGING_KAFKA_MESSAGE_KEY,
    tombstone=messaging_attributes.MESSAGING_KAFKA_MESSAGE_TOMBSTONE,
    cluster_id=messaging_attributes.MESSAGING_KAFKA_CLUSTER_ID,
    twins={},
)
#: Source: docs/registry/attributes/messaging.md, "Deprecated", and kafka.md of 1.45.
_NEW: Final = Names(
    schema_url="https://opentelemetry.io/schemas/1.45.0",
    system="messaging.system.name",
    offset="kafka.offset",
    message_key="kafka.message.key",
    tombstone="kafka.message.tombstone",
    cluster_id="kafka.cluster.id",
    twins={},
)
_RENAMED: Final = ("system", "offset", "message_key", "tombstone", "cluster_id")
#: By the opt-in for messaging. With both, what there can be only one of is new (kafka.md, "SHOULD emit the new").
NAMES: Final = {
    "": _OLD,
    "messaging": _NEW,
    "messaging/dup": _OLD._replace(
        schema_url=_NEW.schema_url, twins={getattr(_OLD, name): getattr(_NEW, name) for name in _RENAMED}
    ),
}

# --- attributes of ours: the convention has no name for them --------------------------------------------------------
#: Why a link is there; ours are the `LINK_` constants below.
LINK_TYPE: Final = "link.type"
#: `link.type` of a link to the span that was current when a message's own context became the parent.
LINK_AMBIENT: Final = "ambient"
#: `link.type` of a link from a send to the transaction that it belongs to.
LINK_TRANSACTION: Final = "transaction"
#: True on a span that its process did not live to end.
SAGATRACE_INTERRUPTED: Final = "sagatrace.interrupted"
#: True on a `create` span whose record no longer fitted into its batch, so that no message carries it.
SAGATRACE_BATCH_FULL: Final = "sagatrace.batch.full"
#: True on a `send` or `create` span whose context had no room within the client's limit: no message carries it.
CONTEXT_LEFT_OUT: Final = "sagatrace.context.left_out"
#: Milliseconds between the record's timestamp and the start of its processing. An attribute has no unit of its own.
QUEUE_TIME_MS: Final = "messaging.kafka.queue.time_ms"
#: How a transaction ended: `committed`, `aborted`.
TRANSACTION_OUTCOME: Final = "messaging.kafka.transaction.outcome"
#: The `transactional.id` of the producer.
TRANSACTIONAL_ID: Final = "messaging.kafka.transactional.id"
#: Prefix of a captured header: `messaging.header.<name>`, the shape of `http.request.header.<name>`.
HEADER_PREFIX: Final = "messaging.header."

# --- operations: name and type --------------------------------------------------------------------------------------
CREATE: Final = "create"
SEND: Final = "send"
POLL: Final = "poll"
PROCESS: Final = "process"
COMMIT: Final = "commit"
TRANSACTION: Final = "transaction"

#: `messaging.operation.type` by `messaging.operation.name`. A transaction has no type in the convention.
OPERATION_TYPES: Final = {
    CREATE: "create",
    SEND: "send",
    POLL: "receive",
    PROCESS: "process",
    COMMIT: "settle",
}

# --- metrics --------------------------------------------------------------------------------------------------------
OPERATION_DURATION: Final = messaging_metrics.MESSAGING_CLIENT_OPERATION_DURATION
SENT_MESSAGES: Final = messaging_metrics.MESSAGING_CLIENT_SENT_MESSAGES
CONSUMED_MESSAGES: Final = messaging_metrics.MESSAGING_CLIENT_CONSUMED_MESSAGES
PROCESS_DURATION: Final = messaging_metrics.MESSAGING_PROCESS_DURATION

#: Seconds between a record's timestamp and the start of its processing; not in the convention.
QUEUE_TIME: Final = "messaging.kafka.queue.time"
#: Spans that an export processor is done with (otel/sdk-metrics.md); the reason of a loss is its `error.type`.
SPANS_PROCESSED: Final = "otel.sdk.processor.span.processed"
#: Of the span journal: how often the disk refused it, spans that it had no room for, spans of a dead process.
JOURNAL_FAILURES: Final = "sagatrace.journal.failures"
JOURNAL_EVICTED: Final = "sagatrace.journal.evicted"
JOURNAL_RECOVERED: Final = "sagatrace.journal.recovered"

SECONDS: Final = "s"
MESSAGES: Final = "{message}"

#: Advised by the convention for both durations (messaging-metrics.md), in seconds.
DURATION_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
#: A message may wait for milliseconds or, behind a stopped consumer, for the topic's whole retention.
QUEUE_TIME_BUCKETS: Final = (
    *(0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0),
    *(300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0, 259200.0, 604800.0),
)


def span_name(operation: str, topics: Iterable[str]) -> str:
    """Name a span `{operation} {destination}`, the topic if all messages have one, or else by the operation alone.

    Source: messaging-spans.md, "Span name". A server's address is for operations that target no destination, and would
    make a name for each host.
    """
    distinct = set(topics)
    return f"{operation} {distinct.pop()}" if len(distinct) == 1 else operation
