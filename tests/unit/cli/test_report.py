"""The report tells of each order how it ended, and whether it is one trace."""

import io
import json
from pathlib import Path

from rich.console import Console

from services.cli.order_api import PlacedOrder
from services.cli.play import Played
from services.cli.report import Account, account_of, show, write
from services.cli.scenarios import SCENARIOS
from services.cli.traces.check import Finding, Rule
from services.cli.traces.recording import Recording
from tests.support.stories import TRACE_ID, completed

_COMPLETED = SCENARIOS[0]
_PLACED = PlacedOrder(order_id="order-1", saga_id="saga-1", trace_id=TRACE_ID)


def _account(outcome: str = "completed", findings: int = 0) -> Account:
    span = completed().spans[0]
    found = [Finding(Rule.IDS, f"finding {number}", span) for number in range(findings)]
    return Account(Played(_COMPLETED, _PLACED, outcome), tuple(completed().spans), found)


def _shown(*accounts: Account) -> str:
    output = io.StringIO()
    show(Console(file=output, width=100, highlight=False), accounts)
    return output.getvalue()


def test_only_the_right_end_in_one_trace_is_whole() -> None:
    """An account is whole if the saga ended as told and its trace has no findings."""
    assert _account().is_whole
    assert not _account(outcome="failed").is_whole
    assert not _account(findings=1).is_whole


def test_the_table_says_yes_or_no() -> None:
    """Each order has a line with its outcome, its spans and whether it is one trace."""
    lines = [line.split() for line in _shown(_account(), _account(findings=1)).splitlines()[-2:]]
    spans = str(len(completed().spans))
    assert lines == [["completed", "completed", spans, "yes"], ["completed", "completed", spans, "no"]]


def test_findings_stand_under_their_trace_and_are_bounded() -> None:
    """What is wrong is printed with the span it is about, and a flood is cut with its number."""
    text = _shown(_account(findings=200))
    assert f"{Rule.IDS}: oms `POST /orders`" in text
    assert text.count("finding ") == 10
    assert "and 190 more findings" in text


def test_an_order_that_was_not_accepted_has_an_account_too(tmp_path: Path) -> None:
    """Without an order there is no trace: the account says so, and the report has the line all the same."""
    account = account_of(Played(_COMPLETED, None, "POST /orders was not answered"), Recording())
    assert not account.is_whole
    write(tmp_path, [account], Recording())
    (order,) = json.loads((tmp_path / "report.json").read_text())["orders"]
    assert (order["scenario"], order["trace_id"], order["spans"]) == ("completed", None, 0)
    assert "not accepted" in _shown(account)


def test_the_report_has_what_was_agreed(tmp_path: Path) -> None:
    """`report.json` names scenario, ids, outcome, trace and number of spans."""
    write(tmp_path, [_account()], Recording())
    assert json.loads((tmp_path / "report.json").read_text()) == {
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
