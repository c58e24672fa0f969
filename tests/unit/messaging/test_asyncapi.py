"""The AsyncAPI document: committed as generated, valid, and complete."""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft7Validator

from services.contracts import Undecodable, catalog, new_id
from services.contracts.topics import READERS, WRITERS
from services.messaging import asyncapi
from services.messaging.dead_letters.headers import Place, read_dead_letter
from services.messaging.dead_letters.redrive import retried_headers
from services.messaging.dead_letters.topic import DeadLetters, Failure
from services.messaging.topology import all_topics
from tests.support.records import DeadLetterTopic, record
from tests.support.sources import ROOT

DOCUMENT = asyncapi.document(catalog.current())
TRACED = (("traceparent", b"00-1"), ("tracestate", b"a=b"))


def test_the_document_is_committed_as_it_is_generated() -> None:
    """A new topic, header or message is a change of the file that others read."""
    assert asyncapi.COMMITTED.read_text() == catalog.text(DOCUMENT), "run `sagatrace schemas write`"


def test_the_document_is_valid() -> None:
    """It is AsyncAPI 3.0 by the specification's own schema, of the npm package @asyncapi/specs 6.11.1 (Apache-2.0)."""
    # The package's NOTICE: Copyright 2016-2025 AsyncAPI Initiative.
    schema = json.loads((ROOT / "tests/support/asyncapi-3.0.0.json").read_text())
    assert [error.json_path for error in Draft7Validator(schema).iter_errors(DOCUMENT)] == []
    broken = {**DOCUMENT, "channels": {"a": {"adress": "a"}}}
    assert not Draft7Validator(schema).is_valid(broken)


def test_every_reference_leads_somewhere() -> None:
    """No reference points outside of the document, or at nothing."""
    for reference in _references(DOCUMENT):
        found: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def test_every_topic_group_and_message_is_there() -> None:
    """Each topic of the topology is a channel, each group receives what it reads, each version has its channel."""
    assert set(DOCUMENT["channels"]) == {topic.name for topic in all_topics()}
    operations = DOCUMENT["operations"].values()
    for action, who in (("send", WRITERS), ("receive", READERS)):
        for topic, names in who.items():
            channel = {"$ref": f"#/channels/{topic}"}
            assert len([one for one in operations if (one["action"], one["channel"]) == (action, channel)]) == len(
                names
            )
    groups = {
        one["bindings"]["kafka"]["groupId"]["const"]: one["channel"]["$ref"] for one in operations if "bindings" in one
    }
    assert set(groups) == {group for readers in READERS.values() for group in readers}
    carried = [name for channel in DOCUMENT["channels"].values() for name in channel["messages"]]
    assert {str(identity) for identity in catalog.current()} <= set(carried)


async def test_every_header_that_is_written_is_described() -> None:
    """A dead letter, one that fails again, one that is too large and one that is re-driven have no other headers."""
    kept = DeadLetterTopic()
    dead_letters, failure = DeadLetters("billing", kept), Failure(Undecodable("no JSON"), behind=Place("a", 0, 1))
    await dead_letters.add(record(b"{}", headers=TRACED), failure)
    await dead_letters.add(record(b"{}", headers=tuple(kept.kept[0].headers)), failure)
    written = {name for sent in kept.kept for name, _ in sent.headers}
    assert {"sagatrace-dlq-behind", "kafka_dlt-original-offset"} <= written
    assert written <= asyncapi.headers()
    again = read_dead_letter(record(b"{}", topic="billing.dlq", headers=kept.kept[0].headers))
    assert {name for name, _ in retried_headers(again, new_id())} <= asyncapi.headers()


def _references(part: object) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [one for value in part.values() for one in _references(value)]
    return [one for value in part for one in _references(value)] if isinstance(part, list) else []
