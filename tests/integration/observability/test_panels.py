"""Every panel and every rule has something to show: evaluated on Prometheus, behind services that work and fail."""

import math
from typing import Any

import pytest

from tests.support.deployment import Query, documented, panel_queries, rules, selectors
from tests.support.eventually import eventually
from tests.support.prometheus import Prometheus

# The first test that asks for the load waits for it.
pytestmark = pytest.mark.timeout(240)

# A counter is a rate once it was exported twice, a second apart.
_SHOWN_S = 20.0
# No event of an unknown type is sent, and too few dead letters for a breaker.
_NOT_CAUSED = {"sagatrace_consumer_unknown_total", "sagatrace_consumer_breaker_trips_total"}
_HISTOGRAMS = {name: f"{name}_count" for name, kind in documented().items() if kind.startswith("histogram")}


@pytest.mark.parametrize("query", panel_queries(), ids=lambda query: query.where)
async def test_a_panel_shows_something(prometheus_under_load: Prometheus, query: Query) -> None:
    """A panel's query has a value that is a number."""
    expression = query.expression.replace("$__rate_interval", "2m")
    await eventually(
        lambda: [value for value in prometheus_under_load.values(expression) if not math.isnan(value)],
        timeout_s=_SHOWN_S,
    )


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
async def test_a_rule_looks_at_something(prometheus_under_load: Prometheus, rule: dict[str, Any]) -> None:
    """Every selector of a rule finds series, and Prometheus evaluates the rule without an error."""
    wanted = selectors(rule["expr"])
    await eventually(lambda: all(map(prometheus_under_load.values, wanted)), timeout_s=_SHOWN_S)
    known = {
        one["name"]: one["health"] for group in prometheus_under_load.ask("rules")["groups"] for one in group["rules"]
    }
    assert known[rule["alert"]] in {"ok", "unknown"}


@pytest.mark.parametrize("name", sorted(documented().keys() - _NOT_CAUSED))
async def test_a_documented_metric_is_emitted(prometheus_under_load: Prometheus, name: str) -> None:
    """What docs/metrics.md lists is there under its name, but for what this load does not cause."""
    is_duration = name.endswith(("_duration_seconds", "_duration_milliseconds"))
    found = _HISTOGRAMS.get(name, f"{name}_count" if is_duration else name)
    await eventually(lambda: prometheus_under_load.values(found), timeout_s=_SHOWN_S)


async def test_a_histogram_leads_to_a_trace(prometheus_under_load: Prometheus) -> None:
    """The saga's duration has exemplars with the id of a trace."""
    exemplars = await eventually(
        lambda: prometheus_under_load.ask(
            "query_exemplars", query="sagatrace_saga_duration_seconds_bucket", start="0", end="9999999999"
        ),
        timeout_s=_SHOWN_S,
    )
    labels = [one["labels"] for series in exemplars for one in series["exemplars"]]
    assert all(len(label["trace_id"]) == 32 for label in labels)
