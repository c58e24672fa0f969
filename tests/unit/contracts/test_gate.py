"""The gate: one line for each thing that a change breaks, and how versions of a type get on."""

from __future__ import annotations

import pytest

from services.contracts.gate import Reads, breaks, relations
from services.contracts.json_schema import Schema
from services.contracts.versions import Identity
from tests.support.schema_changes import BASE, CHANGES, changed

SENT = Identity("parcel.sent", 1)

LINES = {
    "a required field less": (
        "parcel.sent.v1: code is not written; breaks readers that are deployed; "
        "instead: keep writing it; version 2, with an upcaster, may leave it out"
    ),
    "a required field more": (
        "parcel.sent.v1: colour is not written; breaks this program, on records that are written already; "
        "instead: make it optional, with a default"
    ),
    "another type": (
        "parcel.sent.v1: label is boolean and was read as string; breaks readers that are deployed, and this program "
        "on records that are written already; instead: add an optional field of the other type beside it, or make "
        "version 2 with an upcaster"
    ),
    "a value more": (
        "parcel.sent.v1: carrier may be rail; breaks readers that are deployed; "
        "instead: write the new value in version 2 only"
    ),
    "a lower maximum": (
        "parcel.sent.v1: weight has the maximum 50, not 40; breaks this program, on records that are written already; "
        "instead: keep the bound here, and check the narrower one where the message is made"
    ),
    "another constant": (
        "parcel.sent.v1: event_type may be parcel.left; breaks readers that are deployed, and this program on records "
        "that are written already; instead: make a new type, and keep this one until nobody reads it"
    ),
}


@pytest.mark.parametrize("name", LINES)
def test_a_break_is_one_line(name: str) -> None:
    """It says where, what, whom it breaks, and what to do instead."""
    found = breaks({SENT: BASE}, {SENT: changed(CHANGES[name][0])})
    assert [str(one) for one in found] == [LINES[name]]


@pytest.mark.parametrize("name", [name for name, (_, old, new) in CHANGES.items() if not old and not new])
def test_a_change_that_breaks_nobody_passes(name: str) -> None:
    """The gate has nothing to say about it."""
    assert breaks({SENT: BASE}, {SENT: changed(CHANGES[name][0])}) == []


def test_a_new_type_and_a_new_version_pass() -> None:
    """Nobody reads them yet, whatever is in them."""
    other = changed(CHANGES["another type"][0])
    assert (
        breaks({SENT: BASE}, {SENT: BASE, Identity("parcel.sent", 2): other, Identity("parcel.lost", 1): other}) == []
    )


def test_a_version_that_nobody_reads_any_more_is_a_break() -> None:
    """A model that is deleted leaves records that can't be read."""
    (lost,) = breaks({SENT: BASE}, {Identity("parcel.sent", 2): BASE})
    assert str(lost).startswith("parcel.sent.v1: has a committed schema, and no model reads it any more; breaks this")


@pytest.mark.parametrize(
    ("name", "older", "newer"),
    [
        ("an optional field more", Reads.AS_THEY_ARE, Reads.UNCHECKED),
        ("a required field more", Reads.UPCAST, Reads.UNCHECKED),
        ("another type", Reads.UPCAST, Reads.HELD),
    ],
)
def test_versions_get_on_by_what_differs(name: str, older: Reads, newer: Reads) -> None:
    """An old record is read as it is or by an upcaster; a new one reaches an old program only if it is held."""
    both: dict[Identity, Schema] = {SENT: BASE, Identity("parcel.sent", 2): changed(CHANGES[name][0])}
    assert [(one.written, one.read_by, one.how) for one in relations(both)] == [(1, 2, older), (2, 1, newer)]
