"""docs/events.md shows the gate's answers as the gate gives them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from services.contracts import catalog
from services.contracts.gate import breaks
from services.contracts.versions import Identity
from tests.support.sources import ROOT

COMMITTED = catalog.committed()
CREATED, CHARGE = Identity("order.created", 2), Identity("payment.charge", 1)


def _required_more(definitions: dict[str, Any]) -> None:
    definitions["OrderPlaced"]["properties"]["channel"] = {"type": "string"}
    definitions["OrderPlaced"]["required"].append("channel")


def _required_less(definitions: dict[str, Any]) -> None:
    del definitions["OrderPlaced"]["properties"]["total"]
    definitions["OrderPlaced"]["required"].remove("total")


def _another_type(definitions: dict[str, Any]) -> None:
    definitions["OrderPlaced"]["properties"]["customer_id"] = {"type": "integer"}


def _value_more(definitions: dict[str, Any]) -> None:
    definitions["Step"]["enum"].append("refund")


def _narrower(definitions: dict[str, Any]) -> None:
    definitions["Item"]["properties"]["quantity"]["maximum"] = 100


@pytest.mark.parametrize(
    ("identity", "change"),
    [
        (CREATED, _required_more),
        (CREATED, _required_less),
        (CREATED, _another_type),
        (CHARGE, _value_more),
        (CREATED, _narrower),
    ],
)
def test_an_answer_in_the_docs_is_the_gates(identity: Identity, change: Callable[[dict[str, Any]], None]) -> None:
    """A breaking change of the contract as it is gives the line that the page shows."""
    new = deepcopy(COMMITTED[identity])
    change(new["definitions"])
    (line,) = map(str, breaks(COMMITTED, {**COMMITTED, identity: new}))
    assert f"| `{line}` |" in (ROOT / "docs/events.md").read_text()


def test_a_deleted_model_is_told_as_the_docs_say() -> None:
    """The page shows what is lost with a model, and how to keep it."""
    kept = {identity: schema for identity, schema in COMMITTED.items() if identity != Identity("order.created", 1)}
    (line,) = map(str, breaks(COMMITTED, kept))
    first, _, last = line.split("; ")
    assert f"| `{first}; ...; {last}` |" in (ROOT / "docs/events.md").read_text()
