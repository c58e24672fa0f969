"""Dashboards and alert rules: they name metrics that are emitted, and lead somewhere."""

import json
import re
from typing import Any

import pytest

from services.messaging import semconv
from tests.support.deployment import Query, base_name, documented, load, metrics, panel_queries, rules, selectors
from tests.support.sources import ROOT
from tracing import semconv as library
from tracing.semconv import CONSUMED_MESSAGES, OPERATION_DURATION, PROCESS_DURATION, QUEUE_TIME, SENT_MESSAGES

_DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "deploy/grafana/dashboards").glob("*.json")}
_SUFFIX = {"s": "_seconds"}
_PANELS = {
    "kafka": {"Message rate", "Consumer lag", "Error rate", "Topic size", "Time lag", "Rebalances"},
    "sagas": {
        *("Open sagas by state", "Duration", "Compensation ratio", "Oldest open saga", "Outbox age", "Dead letters"),
    },
}


def _ours() -> set[str]:
    """Every metric that the code has a name for."""
    constants = [*vars(library).items(), *vars(semconv).items()]
    names = [value for name, value in constants if name.isupper() and isinstance(value, str)]
    of_ours = ("sagatrace.consumer.", "sagatrace.saga.", "sagatrace.outbox.", "sagatrace.journal.")
    counted = {name for name in names if name.startswith(of_ours)}
    return counted - {semconv.SAGATRACE_OUTBOX_WAIT_MS, semconv.SAGATRACE_OUTBOX_ATTEMPT} | {
        OPERATION_DURATION,
        SENT_MESSAGES,
        CONSUMED_MESSAGES,
        PROCESS_DURATION,
        QUEUE_TIME,
    }


def test_every_metric_of_ours_is_documented() -> None:
    """docs/metrics.md has a row for each metric, with the name that Prometheus makes of its name, unit and kind."""
    table = (ROOT / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `([a-z_.]+)` \| (\w+)(?:, (\w+))? \| `(\w+)` \|", table, re.MULTILINE)
    assert {name for name, *_ in rows} >= _ours()
    for name, kind, unit, shown in rows:
        end = "_total" if kind == "counter" else ""
        assert shown == name.replace(".", "_") + _SUFFIX.get(unit, "") + end


@pytest.mark.parametrize("name", sorted(_PANELS))
def test_the_panels_are_there(name: str) -> None:
    """Each dashboard has the panels that an operator asks for, each with a description, and none over another."""
    panels: list[dict[str, Any]] = _DASHBOARDS[name]["panels"]
    assert {panel["title"] for panel in panels} >= _PANELS[name]
    assert all(panel["description"] for panel in panels)
    taken = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(taken)) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


@pytest.mark.parametrize("query", panel_queries(), ids=lambda query: query.where)
def test_a_panel_names_known_metrics(query: Query) -> None:
    """Each metric of a query is in the documentation's tables."""
    assert metrics(query.expression)
    assert {base_name(metric) for metric in metrics(query.expression)} <= documented().keys()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_names_known_metrics_and_its_section(rule: dict[str, Any]) -> None:
    """Each alert has a severity, a summary, known metrics, a section in the runbook, and a test."""
    assert metrics(rule["expr"])
    assert {base_name(metric) for metric in metrics(rule["expr"])} <= documented().keys()
    assert rule["labels"]["severity"] in {"warning", "critical"}
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert re.search(rf"^## {rule['alert']}$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor == rule["alert"].lower()
    assert rule["alert"] in (ROOT / "deploy/prometheus/rules.test.yml").read_text()


def test_a_refusal_alerts_nobody() -> None:
    """No alert and no panel counts spans by their status: a participant's no is an error there, and is in order."""
    expressions = [rule["expr"] for rule in rules()] + [query.expression for query in panel_queries()]
    assert not [expression for expression in expressions if "status_code" in expression]


def test_the_runbook_has_no_section_without_an_alert() -> None:
    """Sections and alerts are the same."""
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert set(sections) == {rule["alert"] for rule in rules()}


def test_sources_are_provisioned_under_the_ids_that_are_used() -> None:
    """Dashboards and exemplars name data sources that Grafana is given; both answer inside of the compose network."""
    sources = {
        source["uid"]: source for source in load("deploy/grafana/provisioning/datasources/sources.yaml")["datasources"]
    }
    used = set(re.findall(r'"uid": "(prometheus|jaeger)"', json.dumps(_DASHBOARDS)))
    destinations = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert used | {one["datasourceUid"] for one in destinations} == sources.keys()
    assert sources["prometheus"]["url"] == "http://prometheus:9090"
    assert sources["jaeger"]["url"] == "http://jaeger:16686"


def test_dashboards_are_found() -> None:
    """Grafana looks for dashboards where they are mounted, and each has an id of its own."""
    [provider] = load("deploy/grafana/provisioning/dashboards/dashboards.yaml")["providers"]
    mounts = load("docker-compose.yml")["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in mounts
    assert len({dashboard["uid"] for dashboard in _DASHBOARDS.values()}) == len(_DASHBOARDS) == 2


def test_both_dashboards_lead_to_jaeger() -> None:
    """Each dashboard links to Jaeger's page, and at least one panel of each to a search there."""
    for dashboard in _DASHBOARDS.values():
        assert "http://localhost:16686" in [link.get("url") for link in dashboard["links"]]
        links = [
            link["url"] for panel in dashboard["panels"] for link in panel["fieldConfig"]["defaults"].get("links", [])
        ]
        assert any(link.startswith("http://localhost:16686/search?service=oms") for link in links)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("sum by (kafka_x) (rate(sagatrace_a_total[5m]))", {"sagatrace_a_total"}),
        ('max(kafka_a{b="c"}) - kafka_a', {'kafka_a{b="c"}', "kafka_a"}),
        ('kafka_a{topic=~".+\\\\.dlq"} > 0', {'kafka_a{topic=~".+\\\\.dlq"}'}),
        ('messaging_a{messaging_operation_type="send"}', {'messaging_a{messaging_operation_type="send"}'}),
    ],
)
def test_selectors_are_found(expression: str, found: set[str]) -> None:
    """A selector is a metric with its matchers; a label in a grouping or a matcher is none."""
    assert selectors(expression) == found
