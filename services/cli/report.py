"""What the demo shows and writes at its end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.cli.play import Played
from services.cli.traces.check import Finding, Rule, check
from services.cli.traces.model import Span
from services.cli.traces.page import Chapter, page
from services.cli.traces.recording import Recording
from services.cli.traces.story import Story
from services.cli.traces.waterfall import ASCII, UNICODE, waterfall

_PLAIN_WIDTH = 132
_MOST_FINDINGS = 10


@dataclass(frozen=True, slots=True)
class Account:
    """A played scenario with its trace."""

    played: Played
    spans: tuple[Span, ...]
    findings: Sequence[Finding]

    @property
    def is_whole(self) -> bool:
        """Tell whether the saga ended as it should, and is exactly one connected trace."""
        return self.played.is_as_told and not self.findings


def account_of(played: Played, recording: Recording) -> Account:
    """Check the trace of one scenario with what has been recorded so far."""
    placed = played.placed
    if placed is None or not placed.trace_id:
        return Account(played, (), [Finding(Rule.ENTRY, "the order has no trace")])
    spans = recording.spans()
    findings = check(spans, saga_id=placed.saga_id, trace_id=placed.trace_id)
    trace = tuple(span for span in spans if span.trace_id == placed.trace_id)
    return Account(played, Story(placed.saga_id, trace).spans, findings)


def show(console: Console, accounts: Sequence[Account]) -> None:
    """Print a waterfall for each trace with what is wrong with it, then the table."""
    for account in accounts:
        _show_trace(console, account)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("scenario", "outcome"):
        table.add_column(heading)
    table.add_column("spans", justify="right")
    table.add_column("one trace")
    for account in accounts:
        played = account.played
        outcome = Text(played.outcome, style="" if played.is_as_told else "bold red")
        one_trace = Text("no", style="bold red") if account.findings else Text("yes", style="green")
        table.add_row(played.scenario.name, outcome, str(len(account.spans)), one_trace)
    console.print()
    console.print(table)


def _show_trace(console: Console, account: Account) -> None:
    placed = account.played.placed
    about = f"order {placed.order_id}, trace {placed.trace_id}" if placed else "the order was not accepted"
    console.print()
    heading = Text.assemble((account.played.scenario.name, "bold"), f": {account.played.outcome}, {about}")
    console.print(heading, soft_wrap=True)
    width = console.width if console.is_terminal else _PLAIN_WIDTH
    signs = UNICODE if (console.encoding or "").lower().startswith("utf") else ASCII
    for line in waterfall(account.spans, width=width, signs=signs):
        console.print(line, soft_wrap=True)
    for finding in account.findings[:_MOST_FINDINGS]:
        console.print(Text(f"  {finding}", style="red"), soft_wrap=True)
    if len(account.findings) > _MOST_FINDINGS:
        console.print(Text(f"  and {len(account.findings) - _MOST_FINDINGS} more findings", style="red"))


def write(folder: Path, accounts: Sequence[Account], recording: Recording) -> None:
    """Write `traces.json` (OTLP/JSON, as Jaeger's upload takes it), `trace.html` and `report.json`."""
    traces = {account.played.placed.trace_id for account in accounts if account.played.placed}
    requests = {link.trace_id for account in accounts for span in account.spans for link in span.links}
    _write_json(folder / "traces.json", recording.document(traces | requests))
    _write_json(folder / "report.json", {"orders": [_order(account) for account in accounts]})
    chapters = [_chapter(account) for account in accounts]
    (folder / "trace.html").write_text(page("Five order sagas, each one trace", chapters), encoding="utf-8")


def _order(account: Account) -> dict[str, str | int | None]:
    played, placed = account.played, account.played.placed
    return {
        "scenario": played.scenario.name,
        "order_id": placed.order_id if placed else None,
        "saga_id": placed.saga_id if placed else None,
        "outcome": played.outcome,
        "trace_id": placed.trace_id if placed else None,
        "spans": len(account.spans),
    }


def _chapter(account: Account) -> Chapter:
    played, placed = account.played, account.played.placed
    about = {"outcome": played.outcome}
    if placed:
        about |= {"order": placed.order_id, "saga": placed.saga_id, "trace": placed.trace_id}
    return Chapter(played.scenario.name, about, account.spans)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
