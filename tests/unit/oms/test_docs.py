"""The page about the saga shows the saga that runs."""

from __future__ import annotations

from pathlib import Path

from services.oms.saga import diagram, newest

PAGE = Path(__file__).parents[3] / "docs" / "saga.md"


def test_the_diagram_in_the_docs_is_the_table() -> None:
    """The diagram in docs/saga.md is the one that the table draws."""
    assert f"```mermaid\n{diagram(newest())}\n```" in PAGE.read_text(encoding="utf-8")
