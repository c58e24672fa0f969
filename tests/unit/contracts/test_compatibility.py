"""The rules of the gate: which changes of a schema which side refuses."""

from __future__ import annotations

import pytest

from services.contracts.compatibility import refusals
from tests.support.schema_changes import BASE, CHANGES, changed


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_refused_by_the_side_that_it_breaks(name: str) -> None:
    """Each kind of change has its answer in both directions: at which field, and why."""
    change, old_reader, new_reader = CHANGES[name]
    new = changed(change)
    assert [(one.path, one.kind) for one in refusals(new, BASE)] == old_reader
    assert [(one.path, one.kind) for one in refusals(BASE, new)] == new_reader


def test_a_refusal_says_what_is_written() -> None:
    """The text is about what the writer does, in the words of the schema."""
    more, wider = changed(CHANGES["a value more"][0]), changed(CHANGES["a higher maximum"][0])
    assert [one.what for one in refusals(more, BASE)] == ["may be rail"]
    assert [one.what for one in refusals(wider, BASE)] == ["has the maximum 60, not 50"]
