"""The report shows how each order ended, and whether it is one trace."""

import io
import json
from pathlib import Path

from rich.console import Console

from services.cli.jaeger import Jaeger
from services.cli.order_api import PlacedOrder
from services.cli.player import ScenarioResult
from services.cli.report import ScenarioReport, report_on, show, show_links, write
from services.cli.scenarios import SCENARIOS
from services.cli.traces.findings import Finding, Rule
from services.cli.traces.recording import Recording
from tests.support.saga_traces import TRACE_ID, completed

_COMPLETED = SCENARIOS[0]
_PLACED = PlacedOrder(order_id="order-1", saga_id="saga-1", trace_id=TRACE_ID)


def _report(outcome: str = "completed", findings: int = 0) -> ScenarioReport:
    span = completed().spans[0]
    found = [Finding(Rule.IDS, f"finding {number}", span) for number in range(findings)]
    return ScenarioReport(ScenarioResult(_COMPLETED, _PLACED, outcome), tuple(completed().spans), found)


def _shown(*reports: ScenarioReport) -> str:
    output = io.StringIO()
    show(Console(file=output, width=100, highlight=False), reports)
    return output.getvalue()


def test_only_the_right_end_in_one_trace_passes() -> None:
    """A report passes if the saga ended as its scenario says and its trace has no findings."""
    assert _report().passed
    assert not _report(outcome="failed").passed
    assert not _report(findings=1).passed


def test_each_order_has_its_links() -> None:
    """At the end each order has a link to its trace in Jaeger, and one to all traces with its id."""
    output = io.StringIO()
    refused = ScenarioReport(ScenarioResult(_COMPLETED, None, "refused"), (), [])
    show_links(Console(file=output, width=20, highlight=False), [_report(), refused], Jaeger("http://jaeger:16686"))
    assert output.getvalue().splitlines() == [
        f"completed          http://jaeger:16686/trace/{TRACE_ID}",
        " " * 19 + "http://jaeger:16686/search?service=oms&lookback=7d&tags=%7B%22order.id%22%3A%22order-1%22%7D",
    ]


def test_the_table_says_yes_or_no() -> None:
    """Each order has a line with its outcome, its spans and whether it is one trace."""
    lines = [line.split() for line in _shown(_report(), _report(findings=1)).splitlines()[-2:]]
    spans = str(len(completed().spans))
    assert lines == [["completed", "completed", spans, "yes"], ["completed", "completed", spans, "no"]]


def test_findings_stand_under_their_trace_and_are_bounded() -> None:
    """What is wrong is printed with the span it is about, and a flood is cut with its number."""
    text = _shown(_report(findings=200))
    assert f"{Rule.IDS}: oms `POST /orders`" in text
    assert text.count(f"  {Rule.IDS}: oms") == 10
    assert "and 190 more findings" in text


def test_the_story_stands_between_the_heading_and_the_waterfall() -> None:
    """What the trace tells is the second line about an order, before its spans."""
    lines = _shown(_report()).splitlines()
    heading = next(number for number, line in enumerate(lines) if line.startswith("completed: completed"))
    assert lines[heading + 1].startswith("completed in ")
    assert "POST /orders" in lines[heading + 2]


def test_an_order_that_was_not_accepted_has_a_report_too(tmp_path: Path) -> None:
    """Without an order there is no trace: the output says so, and `report.json` still has its line."""
    report = report_on(ScenarioResult(_COMPLETED, None, "POST /orders was not answered"), Recording())
    assert not report.passed
    write(tmp_path, [report], Recording())
    (order,) = json.loads((tmp_path / "report.json").read_text())["orders"]
    assert (order["scenario"], order["trace_id"], order["spans"]) == ("completed", None, 0)
    assert "not accepted" in _shown(report)


def test_the_report_has_what_was_agreed(tmp_path: Path) -> None:
    """`report.json` names scenario, ids, outcome, trace, number of spans, and the story with its numbers."""
    write(tmp_path, [_report()], Recording())
    written = json.loads((tmp_path / "report.json").read_text())
    numbers = written["orders"][0].pop("numbers")
    assert written["orders"][0].pop("story").startswith("completed in ")
    assert numbers["took_ms"] > 0
    assert (numbers["retries"], numbers["refund_ms"]) == (0, None)
    assert written == {
        "orders": [
            {
                "scenario": "completed",
                "order_id": "order-1",
                "saga_id": "saga-1",
                "outcome": "completed",
                "trace_id": TRACE_ID,
                "spans": len(completed().spans),
            },
        ],
    }


def test_the_page_leads_to_jaeger_where_it_is_known(tmp_path: Path) -> None:
    """With Jaeger's address each trace of `trace.html` has a link to its page there, and without it none."""
    write(tmp_path, [_report()], Recording(), lambda trace_id: f"http://jaeger:16686/trace/{trace_id}")
    assert f'href="http://jaeger:16686/trace/{TRACE_ID}"' in (tmp_path / "trace.html").read_text()
    write(tmp_path, [_report()], Recording())
    assert "Open in Jaeger" not in (tmp_path / "trace.html").read_text()
