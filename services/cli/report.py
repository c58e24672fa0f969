"""What the demo prints and writes at its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.cli.jaeger import Jaeger
from services.cli.player import ScenarioResult
from services.cli.printable import printable
from services.cli.traces.check import check
from services.cli.traces.findings import Finding, Rule
from services.cli.traces.model import Span
from services.cli.traces.page import TraceSection, page
from services.cli.traces.recording import Recording
from services.cli.traces.saga_trace import SagaTrace
from services.cli.traces.story import Story, tell
from services.cli.traces.waterfall import ASCII, UNICODE, Signs, legend, waterfall

_PLAIN_WIDTH = 132
_MAX_FINDINGS = 10


@dataclass(frozen=True, slots=True)
class ScenarioReport:
    """A scenario's result with its trace."""

    result: ScenarioResult
    spans: tuple[Span, ...]
    findings: Sequence[Finding]

    @property
    def passed(self) -> bool:
        """Whether the saga ended as it should, and is exactly one connected trace."""
        return self.result.is_expected and not self.findings

    @property
    def story(self) -> Story:
        """What the trace tells."""
        placed = self.result.placed
        return tell(SagaTrace(placed.saga_id, self.spans), self.findings) if placed else Story("there is no trace")


def report_on(result: ScenarioResult, recording: Recording) -> ScenarioReport:
    """Check the trace of one scenario in what has been recorded so far."""
    placed = result.placed
    if placed is None or not placed.trace_id:
        return ScenarioReport(result, (), [Finding(Rule.ENTRY, "the order has no trace")])
    spans = recording.spans()
    findings = check(spans, saga_id=placed.saga_id, trace_id=placed.trace_id, outcome=result.outcome)
    trace = tuple(span for span in spans if span.trace_id == placed.trace_id)
    return ScenarioReport(result, SagaTrace(placed.saga_id, trace).spans, findings)


def show(console: Console, reports: Sequence[ScenarioReport]) -> None:
    """Print a waterfall of each trace with its findings, then the table."""
    signs = UNICODE if (console.encoding or "").lower().startswith("utf") else ASCII
    console.print()
    console.print(legend(signs), soft_wrap=True)
    for one in reports:
        _show_trace(console, one, signs)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("scenario", "outcome"):
        table.add_column(heading)
    table.add_column("spans", justify="right")
    table.add_column("one trace")
    for one in reports:
        result = one.result
        outcome = Text(result.outcome, style="" if result.is_expected else "bold red")
        one_trace = Text("no", style="bold red") if one.findings else Text("yes", style="green")
        table.add_row(result.scenario.name, outcome, str(len(one.spans)), one_trace)
    console.print()
    console.print(table)


def show_links(console: Console, reports: Sequence[ScenarioReport], jaeger: Jaeger) -> None:
    """Print where Jaeger shows each order: its trace, and all traces with the order's id."""
    for one in reports:
        if placed := one.result.placed:
            console.print(f"{one.result.scenario.name:<18} {jaeger.page(placed.trace_id)}", soft_wrap=True)
            console.print(f"{'':<18} {jaeger.search(placed.order_id)}", soft_wrap=True)


def _show_trace(console: Console, report: ScenarioReport, signs: Signs) -> None:
    placed = report.result.placed
    ids = f"order {placed.order_id}, trace {placed.trace_id}" if placed else "the order was not accepted"
    console.print()
    heading = Text.assemble((report.result.scenario.name, "bold"), f": {report.result.outcome}, {ids}")
    console.print(heading, soft_wrap=True)
    story = report.story
    told = [printable(text) for text in (story.headline, *story.clauses)]
    console.print(Text.assemble((told[0], "bold"), *(f"; {clause}" for clause in told[1:])), soft_wrap=True)
    width = console.width if console.is_terminal else _PLAIN_WIDTH
    for line in waterfall(report.spans, width=width, signs=signs):
        console.print(line, soft_wrap=True)
    for finding in report.findings[:_MAX_FINDINGS]:
        console.print(Text(f"  {finding}", style="red"), soft_wrap=True)
    if len(report.findings) > _MAX_FINDINGS:
        console.print(Text(f"  and {len(report.findings) - _MAX_FINDINGS} more findings", style="red"))


def write(
    folder: Path,
    reports: Sequence[ScenarioReport],
    recording: Recording,
    jaeger: Callable[[str], str] | None = None,
) -> None:
    """Write `traces.json` (OTLP/JSON, which Jaeger's upload accepts), `trace.html` and `report.json`.

    Args:
        folder: The folder to write to.
        reports: The scenarios.
        recording: What has been recorded of them.
        jaeger: Returns the address of a trace's page in Jaeger; None where no Jaeger is known.
    """
    traces = {one.result.placed.trace_id for one in reports if one.result.placed}
    requests = {link.trace_id for one in reports for span in one.spans for link in span.links}
    _write_json(folder / "traces.json", recording.document(traces | requests))
    _write_json(folder / "report.json", {"orders": [_order(one) for one in reports]})
    sections = [_section(one, jaeger) for one in reports]
    (folder / "trace.html").write_text(page("Five order sagas, each one trace", sections), encoding="utf-8")


def _order(report: ScenarioReport) -> dict[str, object]:
    result, placed, story = report.result, report.result.placed, report.story
    return {
        "scenario": result.scenario.name,
        "order_id": placed.order_id if placed else None,
        "saga_id": placed.saga_id if placed else None,
        "outcome": result.outcome,
        "trace_id": placed.trace_id if placed else None,
        "spans": len(report.spans),
        "story": story.text,
        "numbers": story.numbers,
    }


def _section(report: ScenarioReport, jaeger: Callable[[str], str] | None) -> TraceSection:
    result, placed = report.result, report.result.placed
    title = result.scenario.name.replace("_", " ").capitalize()
    fields = {"outcome": result.outcome}
    story = report.story.text
    if placed is None:
        return TraceSection(title, fields, report.spans, story)
    fields |= {"order": placed.order_id, "saga": placed.saga_id, "trace": placed.trace_id}
    return TraceSection(title, fields, report.spans, story, jaeger(placed.trace_id) if jaeger else None)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
