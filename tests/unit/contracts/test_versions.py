"""Versions side by side: a reader gets the newest of each type, and a writer can be held at an older one."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from services.contracts import Invalid, Message, UnknownVersion, encode, parse_message
from services.contracts.envelope import V1, V2, Value
from services.contracts.errors import UnknownType
from services.contracts.events import OrderCreated
from services.contracts.superseded import Change, OrderCreatedV1
from services.contracts.versions import VERSIONS, Identity, Versions, identity
from tests.support.created_orders import created, placed

CREATED = created()
HELD = {"order.created": 1}


class Note(Value):
    """A payload for every version."""

    text: str


class PinnedV1(Message):
    """The oldest version."""

    event_type: Literal["note.pinned"] = "note.pinned"
    schema_version: V1 = 1
    payload: Note


class PinnedV2(PinnedV1):
    """The one between."""

    schema_version: V2 = 2


class Pinned(PinnedV1):
    """The newest version."""

    schema_version: Literal[3] = 3


def _step(older: type[Message], newer: type[Message], mark: str) -> Change:
    def change(model: type[Message], sign: str) -> Any:
        version = identity(model).version
        return lambda note: model.model_validate(
            dict(note) | {"schema_version": version, "payload": Note(text=f"{note.payload.text}{sign}{mark}")}
        )

    return Change(older, change(newer, "+"), change(older, "-"))


CHAIN = Versions([Pinned], [_step(PinnedV1, PinnedV2, "a"), _step(PinnedV2, Pinned, "b")])


def _altered(**changes: object) -> bytes:
    """Encode the event with some of its fields changed; None takes a field away."""
    body = json.loads(encode(CREATED)) | changes
    return json.dumps({key: value for key, value in body.items() if value is not None}).encode()


def test_an_old_record_is_read_as_the_newest_version() -> None:
    """What a program of version 1 wrote is the same event for a handler, without what that version did not know."""
    old = encode(CREATED, HELD)
    assert json.loads(old)["schema_version"] == 1
    assert "delivery_window" not in json.loads(old)["payload"]
    assert parse_message(old) == CREATED.model_copy(update={"payload": placed(None)})


def test_a_writer_that_is_not_held_writes_the_newest_version() -> None:
    """Other types may be held, and a type may be held at its newest version: that changes nothing."""
    for held in (None, {}, {"order.canceled": 1}, {"order.created": 2}):
        assert encode(CREATED, held) == CREATED.model_dump_json().encode()


def test_a_record_without_a_version_is_of_version_one() -> None:
    """It is read as version 1, of which a delivery window is no part."""
    read = parse_message(_altered(schema_version=None))
    assert read.schema_version == 2
    assert read.payload == placed(None)


@pytest.mark.parametrize("version", [3, 10**30])
def test_an_unknown_version_says_which_are_wanted(version: int) -> None:
    """A newer version is an unknown type to those who skip it, and the error says what this program reads."""
    with pytest.raises(UnknownVersion, match=rf"order.created has schema_version {version}, .* reads 1 or 2") as caught:
        parse_message(_altered(schema_version=version, payload={"all": "new"}))
    assert isinstance(caught.value, UnknownType)


@pytest.mark.parametrize("version", [0, -1, "2", 2.0, True, [2]])
def test_what_is_no_version_is_invalid(version: object) -> None:
    """A version is a whole number from 1."""
    with pytest.raises(Invalid, match="schema_version"):
        parse_message(_altered(schema_version=version))


def test_an_old_record_that_breaks_its_contract_is_invalid() -> None:
    """The error names the field as for the newest version, and shows no value."""
    with pytest.raises(Invalid, match=r"^payload\.customer_id: string_pattern_mismatch$"):
        parse_message(
            _altered(schema_version=1, payload={**json.loads(encode(CREATED))["payload"], "customer_id": "?"})
        )


def test_upcasters_and_downcasters_are_chained() -> None:
    """A message goes up one version at a time to the newest, and down to the one that is wanted."""
    first = PinnedV1(saga_id="s-1", order_id="o-1", sequence=1, payload=Note(text="x"))
    newest = CHAIN.upcast(first)
    assert (newest.schema_version, newest.payload) == (3, Note(text="x+a+b"))
    assert newest.event_id == first.event_id
    assert CHAIN.downcast(newest, 2).payload == Note(text="x+a+b-b")
    assert CHAIN.downcast(newest, 1).payload == Note(text="x+a+b-b-a")
    assert CHAIN.upcast(newest) == CHAIN.downcast(newest, 3) == newest


def test_the_versions_of_a_type_have_no_gap() -> None:
    """A version without a step to the next one, or the same version twice, is refused when the program starts."""
    with pytest.raises(ValueError, match=r"note.pinned has the versions \[1, 3\]"):
        Versions([Pinned], [_step(PinnedV1, PinnedV2, "a")])
    with pytest.raises(ValueError, match="two models"):
        Versions([Pinned, Pinned])


def test_every_model_keeps_its_identity_in_its_steps() -> None:
    """A step changes the version and the payload; ids, times and the sequence stay."""
    old = VERSIONS.downcast(CREATED, 1)
    assert type(old) is OrderCreatedV1
    kept = ("event_id", "event_type", "saga_id", "order_id", "sequence", "occurred_at")
    assert all(getattr(old, name) == getattr(VERSIONS.upcast(old), name) == getattr(CREATED, name) for name in kept)
    assert identity(OrderCreatedV1) == Identity("order.created", 1)
    assert str(identity(OrderCreated)) == "order.created.v2"
