"""The contract by examples: what a schema allows is read by every program that has to, whatever it is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from jsonschema import Draft7Validator

from services.contracts import catalog, encode, parse_message
from services.contracts.compatibility import refusals
from services.contracts.gate import Reads, Relation, relations
from services.contracts.json_schema import Schema, opened
from services.contracts.versions import VERSIONS, Identity
from tests.support.json_values import values
from tests.support.schema_changes import BASE, CHANGES, changed

COMMITTED = catalog.committed()
NEWEST = [Identity(event_type, VERSIONS.of_type(event_type)[-1]) for event_type in VERSIONS.types()]
# What each schema of the changes may be compared with.
KINDS = {name: changed(change) for name, (change, *_) in CHANGES.items() if name != "not closed"}


@pytest.mark.parametrize("identity", COMMITTED, ids=str)
@given(st.data())
def test_whatever_was_written_is_read(identity: Identity, data: DataObject) -> None:
    """Every value of a committed schema, with fields that a newer writer adds, is read as the newest version."""
    written = data.draw(values(COMMITTED[identity])) | {"schema_version": identity.version}
    read = parse_message(json.dumps({**written, "mood": [1]}).encode())
    assert str(read.event_id) == written["event_id"]
    assert (read.event_type, read.schema_version) == (identity.event_type, VERSIONS.of_type(identity.event_type)[-1])
    assert VERSIONS.downcast(read, identity.version) == VERSIONS.models[identity].model_validate_json(
        json.dumps(written)
    )


@pytest.mark.parametrize("identity", NEWEST, ids=str)
@given(st.data())
def test_whatever_is_written_is_in_its_schema(identity: Identity, data: DataObject) -> None:
    """Every message is valid by the closed schema of the version at which its type is held, and survives the wire."""
    message = parse_message(
        json.dumps(data.draw(values(COMMITTED[identity])) | {"schema_version": identity.version}).encode()
    )
    for version in VERSIONS.of_type(identity.event_type):
        written = encode(message, {identity.event_type: version})
        Draft7Validator(COMMITTED[Identity(identity.event_type, version)]).validate(json.loads(written))
        assert parse_message(written) == VERSIONS.upcast(VERSIONS.downcast(message, version))
    assert parse_message(encode(message)) == message


@pytest.mark.parametrize("relation", relations(COMMITTED), ids=str)
@given(st.data())
def test_a_version_is_read_by_another_as_the_gate_says(relation: Relation, data: DataObject) -> None:
    """What one version writes is valid for an open reader of the other, where the gate says that it is."""
    written, reader = (Identity(relation.event_type, version) for version in (relation.written, relation.read_by))
    if relation.how in {Reads.AS_THEY_ARE, Reads.UNCHECKED}:
        value = data.draw(values(COMMITTED[written])) | {"schema_version": reader.version}
        Draft7Validator(opened(COMMITTED[reader])).validate(value)


@pytest.mark.parametrize("name", KINDS)
@given(st.data())
def test_what_the_gate_passes_is_read(name: str, data: DataObject) -> None:
    """If no refusal is found between two schemas, every value of the one is valid for an open reader of the other."""
    _is_read(KINDS[name], BASE, data)


@given(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4), st.data())
def test_what_the_gate_passes_is_read_after_several_changes(names: list[str], data: DataObject) -> None:
    """Changes may come together: what passes is read all the same."""
    new = BASE
    for name in names:
        try:
            new = changed(CHANGES[name][0], new)
        except (KeyError, ValueError):
            return  # What it changes is gone.
    _is_read(new, BASE, data)


def _is_read(new: Schema, old: Schema, data: DataObject) -> None:
    for writer, reader in ((new, old), (old, new)):
        if not refusals(writer, reader):
            Draft7Validator(opened(reader)).validate(data.draw(values(writer)))
