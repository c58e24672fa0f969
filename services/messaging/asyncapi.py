"""The AsyncAPI 3.0 document of the system: every topic, who writes and reads it, its messages and their headers.

It is generated from the contract, the topology and the names of the headers, and committed, so that a change of it is
seen: `asyncapi.json`, which the order API serves. A payload is the schema of its type and version, without references,
which in this document would point elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from importlib.metadata import version
from typing import Any

from services.contracts.catalog import Schemas
from services.contracts.json_schema import inlined
from services.contracts.topics import PARTITIONS, READERS, WRITERS, dead_letter_topic, retry_topic, topic_of_type
from services.messaging.dead_letters import ORIGINAL, OWN, SPRING, DeadLetterState
from services.messaging.topology import all_topics

Json = dict[str, Any]

COMMITTED = resources.files("services.messaging") / "asyncapi.json"

_ABOUT = """Orders, each a saga over Kafka. A record's key is the order's id, its value the JSON of one message.

`event_type` and `schema_version` say which message it is. Writers write no field that its schema does not name; readers
ignore fields that theirs does not name, and skip a type or a version that they do not know."""

_TEXT: Json = {"type": "string"}
_NUMBER: Json = {"type": "string", "pattern": "^[0-9]+$"}
_TRACEPARENT: Json = {"type": "string", "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"}

_TRACED: Json = {
    "type": "object",
    "description": (
        "W3C Trace Context as text. No baggage: these services write none, and drop what a client of the order API "
        "sends. Other headers are allowed and passed on."
    ),
    "properties": {
        "traceparent": _TRACEPARENT | {"description": "The span of the send; the message's process span is its child."},
        "tracestate": _TEXT | {"description": "As the trace's entry had it."},
    },
}

_PLACE = {"topic": _TEXT, "partition": _NUMBER, "offset": _NUMBER, "timestamp": _NUMBER}
_ORIGIN: Json = {
    **{f"{ORIGINAL}{name}": schema for name, schema in _PLACE.items()},
    f"{ORIGINAL}traceparent": _TRACEPARENT,
    f"{ORIGINAL}tracestate": _TEXT,
    **{f"{SPRING}{name}": _TEXT for name in ("topic", "timestamp-type", "consumer-group")},
    **{f"{SPRING}{name}": {"type": "string", "format": "binary"} for name in ("partition", "offset", "timestamp")},
}
_REDRIVEN: Json = {
    f"{OWN}failed-span": _TRACEPARENT | {"description": "The process span that failed."},
    f"{OWN}redrive-count": _NUMBER | {"description": "How often it was re-driven."},
    f"{OWN}redrive-id": {"type": "string", "format": "uuid", "description": "The run that re-drove it."},
}
_FAILED: Json = {
    **{f"{OWN}{name}": schema for name, schema in _PLACE.items()},
    f"{OWN}group": _TEXT | {"description": "The group that could not process it."},
    f"{OWN}attempts": _NUMBER,
    f"{OWN}error-type": _TEXT | {"description": "The class of the error."},
    f"{OWN}error-message": _TEXT | {"description": "Its text, if it can hold no payload."},
    f"{OWN}stacktrace": _TEXT,
    f"{OWN}failed-at": {"type": "string", "format": "date-time"},
    f"{OWN}state": {"type": "string", "enum": [state.value for state in DeadLetterState]},
    f"{OWN}behind": _TEXT | {"description": "The origin of the record that it would have overtaken."},
    f"{OWN}omitted": _TEXT | {"description": "Bytes that were left out, because the record was too large."},
}


def document(schemas: Schemas) -> Json:
    """Return the AsyncAPI document of the messages with these schemas."""
    groups = sorted({group for readers in READERS.values() for group in readers})
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sagatrace",
            "version": version("sagatrace-services"),
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {"host": "localhost:9092", "protocol": "kafka", "description": "KAFKA_BOOTSTRAP_SERVERS"},
        },
        "channels": _channels(schemas, groups),
        "operations": _operations(groups),
        "components": {
            "messages": _messages(schemas),
            "messageTraits": {"traced": {"headers": _TRACED}},
        },
    }


def headers() -> set[str]:
    """Return the names of all headers that the document describes."""
    return {*_TRACED["properties"], *_ORIGIN, *_REDRIVEN, *_FAILED}


def _channels(schemas: Schemas, groups: Iterable[str]) -> Json:
    config = {topic.name: topic.config for topic in all_topics()}
    named = {topic: [str(one) for one in schemas if topic_of_type(one.event_type) == topic] for topic in READERS}
    named |= {retry_topic(group): ["redriven"] for group in groups}
    named |= {dead_letter_topic(group): ["dead-letter"] for group in groups}
    return {topic: _channel(topic, config[topic], messages) for topic, messages in named.items()}


def _channel(topic: str, config: dict[str, str], messages: Iterable[str]) -> Json:
    kafka: Json = {"partitions": PARTITIONS, "bindingVersion": "0.5.0"}
    if config:
        kafka["topicConfiguration"] = {name: int(value) for name, value in config.items()}
    return {
        "address": topic,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"kafka": kafka},
    }


def _operations(groups: Iterable[str]) -> Json:
    operations: Json = {}
    for topic, services in WRITERS.items():
        operations |= {f"{service}-sends-{topic}": _send(topic, f"{service} sends to it.") for service in services}
        operations |= {f"{group}-reads-{topic}": _receive(topic, group) for group in READERS[topic]}
    for group in groups:
        dead, again = dead_letter_topic(group), retry_topic(group)
        operations |= {
            f"{group}-sends-{dead}": _send(dead, "The group sends what it can't process."),
            f"operator-reads-{dead}": _operation("receive", dead, "`sagatrace dlq` shows what is there."),
            f"operator-sends-{again}": _send(again, "`sagatrace dlq redrive` sends a dead letter again."),
            f"{group}-reads-{again}": _receive(again, group),
        }
    return operations


def _operation(action: str, topic: str, summary: str) -> Json:
    return {"action": action, "channel": {"$ref": f"#/channels/{topic}"}, "summary": summary}


def _send(topic: str, summary: str) -> Json:
    return _operation("send", topic, summary)


def _receive(topic: str, group: str) -> Json:
    binding = {"groupId": {"type": "string", "const": group}, "bindingVersion": "0.5.0"}
    return _operation("receive", topic, f"The group {group} reads it.") | {"bindings": {"kafka": binding}}


def _messages(schemas: Schemas) -> Json:
    messages = {}
    for identity, schema in schemas.items():
        payload = inlined(schema)
        examples = [{"payload": example} for example in payload.pop("examples")]
        del payload["$schema"]
        messages[str(identity)] = {
            "name": identity.event_type,
            "title": f"{identity.event_type}, version {identity.version}",
            "summary": payload["description"],
            "payload": payload,
            "examples": examples,
            **_of_record(),
        }
    return messages | {
        "redriven": _copy("A dead letter that is sent again", "The bytes that it had.", _ORIGIN | _REDRIVEN),
        "dead-letter": _copy(
            "A record that a group could not process", "The bytes that it had, whatever they are.",
            _ORIGIN | _REDRIVEN | _FAILED,
        ),
    }  # fmt: skip


def _copy(title: str, payload: str, properties: Json) -> Json:
    fields = {"type": "object", "properties": properties}
    return {"title": title, "headers": fields, "payload": {"description": payload}, **_of_record()}


def _of_record() -> Json:
    return {
        "traits": [{"$ref": "#/components/messageTraits/traced"}],
        "bindings": {"kafka": {"key": {"type": "string", "description": "The order's id."}, "bindingVersion": "0.5.0"}},
    }
