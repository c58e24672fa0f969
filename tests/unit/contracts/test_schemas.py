"""The committed schemas: as the models have them, draft-07, closed, and readable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from services.contracts import Invalid, catalog, parse_message
from services.contracts.catalog import StraySchema
from services.contracts.json_schema import opened
from services.contracts.versions import VERSIONS, Identity

COMMITTED = catalog.committed()
# What is new in the drafts after 07.
_LATER = {
    "$defs",
    "$anchor",
    "prefixItems",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedProperties",
    "minContains",
}


def test_every_schema_is_committed_as_its_model_has_it() -> None:
    """A change of a model is a change of its file, which says what it means for others."""
    assert catalog.current() == COMMITTED, "run `sagatrace schemas write`, and look at what it changes"


@pytest.mark.parametrize("identity", COMMITTED, ids=str)
def test_a_schema_is_draft_07_and_closed(identity: Identity) -> None:
    """It declares draft-07, which registries compare, and no object of it takes a field that it does not name."""
    schema = COMMITTED[identity]
    Draft7Validator.check_schema(schema)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    objects = [part for part in _parts(schema) if part.get("type") == "object"]
    assert all(part["additionalProperties"] is False for part in objects)
    assert not _LATER & {key for part in _parts(schema) for key in part}


@pytest.mark.parametrize("identity", COMMITTED, ids=str)
def test_a_schema_says_what_it_is(identity: Identity) -> None:
    """Its title is the type, it and its definitions have descriptions, and its example is a message of the version."""
    schema = COMMITTED[identity]
    assert schema["title"] == identity.event_type
    assert schema["description"]
    assert all(part["title"] == name and part["description"] for name, part in schema["definitions"].items())
    (example,) = schema["examples"]
    Draft7Validator(schema).validate(example)
    assert example["schema_version"] == identity.version
    read = parse_message(json.dumps(example).encode())
    assert (read.event_type, read.schema_version) == (identity.event_type, VERSIONS.of_type(identity.event_type)[-1])


def test_a_superseded_model_has_the_schema_of_its_time() -> None:
    """The first version of `order.created` is what it was, by the names that it had."""
    schema = COMMITTED[Identity("order.created", 1)]
    assert set(schema["definitions"]) == {"Item", "Money", "OrderPlaced"}
    assert set(schema["definitions"]["OrderPlaced"]["properties"]) == {"customer_id", "items", "total"}
    assert schema["properties"]["schema_version"]["maximum"] == 1


def test_a_reader_opens_a_schema() -> None:
    """What a newer writer adds at any level is valid for a reader, and not for a writer."""
    schema = COMMITTED[Identity("order.confirmed", 1)]
    (example,) = schema["examples"]
    newer = {**example, "mood": 1, "payload": {"total": {**example["payload"]["total"], "tax": 3}}}
    assert Draft7Validator(opened(schema)).is_valid(newer)
    assert not Draft7Validator(schema).is_valid(newer)


def test_what_the_schema_demands_is_missed_by_its_name() -> None:
    """A required field that is absent, and a wrong constant, are found by anybody's validator."""
    schema = COMMITTED[Identity("saga.failed", 1)]
    (example,) = schema["examples"]
    assert not Draft7Validator(schema).is_valid({**example, "event_type": "saga.ended"})
    without = {name: value for name, value in example.items() if name != "payload"}
    assert not Draft7Validator(schema).is_valid(without)
    with pytest.raises(Invalid, match="payload"):
        parse_message(json.dumps(without).encode())


def test_only_what_has_changed_is_written(tmp_path: Path) -> None:
    """A second run writes nothing, and a file that was touched is written again."""
    schemas = catalog.current()
    assert len(catalog.write(schemas, tmp_path)) == len(schemas)
    assert catalog.write(schemas, tmp_path) == []
    (tmp_path / "saga.failed.v1.json").write_text("{}")
    assert catalog.write(schemas, tmp_path) == ["saga.failed.v1.json"]
    assert catalog.committed(tmp_path) == schemas


@pytest.mark.parametrize(("name", "content"), [("notes.txt", "{}"), ("saga.failed.v1.json", "{")])
def test_a_file_that_is_no_schema_is_named(tmp_path: Path, name: str, content: str) -> None:
    """Whatever else is in the folder is an error that names it."""
    (tmp_path / name).write_text(content)
    with pytest.raises(StraySchema, match=name):
        catalog.committed(tmp_path)


def _parts(part: object) -> Iterator[dict[str, object]]:
    """Yield every schema in a schema."""
    if isinstance(part, dict):
        yield part
    for one in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _parts(one)
