"""Each table, topic and file that grows has an end, or a reason why it is kept: the list is in docs/storage.md."""

from __future__ import annotations

import importlib

from services.contracts.topics import READERS
from services.messaging.settings import RetentionSettings
from tests.support.sources import ROOT

_METADATA = (
    *(f"services.{service}.tables" for service in ("audit", "inventory", "notification", "oms", "payment")),
    "services.payment.gateway_tables",
)
# What is no table.
_OTHERS = {*READERS, "GROUP.retry", "GROUP.dlq", ".sagatrace/demo", ".sagatrace/journal", ".sagatrace/*.sqlite"}


def test_everything_that_grows_is_listed_with_its_end() -> None:
    """Every table of every service, every topic and every file has one row in the list, which says when it ends."""
    tables = {name for module in _METADATA for name in importlib.import_module(module).metadata.tables}
    rows = _rows()
    assert sorted(what for names, _, _ in rows for what in names) == sorted({*tables, *_OTHERS})
    assert all(end and why for _, end, why in rows)


def test_every_retention_is_in_the_list() -> None:
    """Each setting of a retention is named with what it ends."""
    ends = " ".join(end for _, end, _ in _rows())
    names = {f"SAGATRACE_RETENTION_{name}".upper() for name in RetentionSettings.model_fields} - {
        "SAGATRACE_RETENTION_INTERVAL"
    }
    assert {name for name in names if f"`{name}`" not in ends} == set()


def _rows() -> list[tuple[list[str], str, str]]:
    """Return the list: what it is, its end, and why."""
    text = (ROOT / "docs" / "storage.md").read_text(encoding="utf-8")
    _, _, section = text.partition("\n## What grows, and its end\n")
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [([name.strip("`") for name in what.split(", ")], end, why) for what, end, why in cells]
