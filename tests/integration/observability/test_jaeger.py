"""What Jaeger's page is given, as shipped: clocks, searches, dependencies, the Monitor tab and its configuration."""

import asyncio
import copy
import json
import math
import re
import secrets
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx2
import pytest
from rich.console import Console

from services.cli.jaeger import Jaeger
from services.cli.player import Player, ScenarioResult
from services.cli.progress import Progress
from services.cli.run import Service
from services.cli.scenarios import SCENARIOS
from services.cli.traces.check import check
from tests.support.clocks import KEYS
from tests.support.eventually import eventually
from tests.support.jaeger_api import JaegerApi, root, warnings
from tests.support.observed import Stack
from tests.support.prometheus import Prometheus
from tests.support.sources import ROOT

# The first test that asks for the orders waits for them.
pytestmark = pytest.mark.timeout(240)

T = TypeVar("T")

_SHOWN_S = 60.0
_CHANGES = {"POST /orders/{order_id}/cancel", "POST /orders/{order_id}/refund"}
_RATE_S = 600


@pytest.fixture(scope="module")
def api(stack: Stack) -> JaegerApi:
    """Jaeger, as its page asks it."""
    return JaegerApi(stack.jaeger.url)


@pytest.fixture(scope="module")
def orders(stack: Stack) -> list[ScenarioResult]:
    """The demo's five orders, each at its end, with its whole trace in Jaeger."""
    results = Player(stack.orders, Progress(Console(quiet=True)), lambda: None).play(SCENARIOS)
    assert all(result.is_expected for result in results)
    asyncio.run(eventually(lambda: all(_is_whole(stack, result) for result in results), timeout_s=_SHOWN_S))
    return results


def _is_whole(stack: Stack, result: ScenarioResult) -> bool:
    placed = _placed(result)
    return not check(Jaeger(stack.jaeger.url).spans(placed.trace_id), saga_id=placed.saga_id, trace_id=placed.trace_id)


def _placed(result: ScenarioResult) -> Any:
    assert result.placed is not None
    return result.placed


def test_no_span_has_a_warning(api: JaegerApi, orders: list[ScenarioResult]) -> None:
    """The processes of one host are one clock to Jaeger: no span of any order has a warning."""
    assert {warning for one in orders for warning in warnings(api.trace(_placed(one).trace_id))} == set()


async def test_without_a_host_there_would_be_warnings(
    stack: Stack, api: JaegerApi, orders: list[ScenarioResult]
) -> None:
    """The same spans without what names their host have warnings: this Jaeger does compare clocks."""
    document = copy.deepcopy(Jaeger(stack.jaeger.url).document(_placed(orders[1]).trace_id))
    another = secrets.token_hex(16)
    for resource_spans in document["resourceSpans"]:
        resource = resource_spans["resource"]
        resource["attributes"] = [one for one in resource["attributes"] if not _names_a_host(one["key"])]
        for span in (span for scope in resource_spans["scopeSpans"] for span in scope["spans"]):
            span["traceId"] = another
    httpx2.post(f"{stack.jaeger.otlp_http}/v1/traces", json=document, timeout=100).raise_for_status()
    found = await eventually(lambda: warnings(api.trace(another)), timeout_s=_SHOWN_S)
    assert all("clock skew" in warning for warning in found)


def _names_a_host(key: str) -> bool:
    return key == "ip" or key.startswith("host.")


def test_every_process_has_the_key_of_its_host(stack: Stack, orders: list[ScenarioResult]) -> None:
    """By the rules of old and new Jaegers all five processes have the same key, and it is not empty."""
    document = Jaeger(stack.jaeger.url).document(_placed(orders[0]).trace_id)
    resources = [
        {one["key"]: one["value"].get("stringValue") for one in spans["resource"]["attributes"]}
        for spans in document["resourceSpans"]
    ]
    assert {resource["service.name"] for resource in resources} == {service.value for service in Service}
    assert {resource["service.namespace"] for resource in resources} == {"sagatrace"}
    assert len({resource["service.instance.id"] for resource in resources}) == len(Service)
    assert all(resource["service.version"] for resource in resources)
    for key in KEYS:
        (found,) = {key(resource) for resource in resources}
        assert found


def test_there_is_no_noise(api: JaegerApi, orders: list[ScenarioResult]) -> None:
    """Every trace of every service is an order, or a request that changed one: no polls, commits, reads and probes."""
    ids = {_placed(one).trace_id for one in orders}
    for service in Service:
        others = [trace for trace in api.search(service) if trace["traceID"] not in ids]
        # The one that `test_without_a_host_there_would_be_warnings` adds.
        assert {root(trace) for trace in others} <= _CHANGES | {"POST /orders"}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_an_order_is_found_by_its_id(api: JaegerApi, orders: list[ScenarioResult], scenario: Any) -> None:
    """A search by `order.id` finds the order's trace, and beside it only the request that changed the order."""
    (placed,) = [_placed(one) for one in orders if one.scenario is scenario]
    found = {root(trace): trace["traceID"] for trace in api.search("oms", **{"order.id": placed.order_id})}
    assert found.pop("POST /orders")
    assert found.keys() == ({f"POST /orders/{{order_id}}/{scenario.request}"} if scenario.request else set())


async def test_the_services_and_who_calls_whom_are_there(api: JaegerApi, orders: list[ScenarioResult]) -> None:
    """The five services are listed, and the page of dependencies shows who sends to whom, computed by Jaeger itself."""
    assert orders
    assert set(api.ask("services")["data"]) == {service.value for service in Service}
    assert api.dependencies() == {
        ("oms", "inventory"),
        ("oms", "payment"),
        ("oms", "audit"),
        ("oms", "notification"),
        ("inventory", "oms"),
        ("payment", "oms"),
    }


async def test_the_monitor_tab_shows_what_prometheus_has(
    stack: Stack, api: JaegerApi, orders: list[ScenarioResult]
) -> None:
    """The 95th percentile of each of payment's operations is Prometheus's own, and in milliseconds."""
    assert orders
    shown = await eventually(
        _after_another_order(stack, lambda: _latencies(api, "payment", "consumer")), timeout_s=_SHOWN_S
    )
    assert "process payment.charge" in shown
    for operation, (moment, value) in shown.items():
        assert _percentile(stack.prometheus, "payment", operation, moment) == pytest.approx(value)
        lasted = _durations_ms(api, orders, operation)
        # Orders placed meanwhile take longer or shorter; another unit is a thousand times as much, or as little.
        assert min(lasted) / 50 <= value <= max(lasted) * 50


@pytest.mark.parametrize("service_and_kind", [("oms", "server"), ("inventory", "consumer"), ("audit", "consumer")])
@pytest.mark.parametrize("metric", ["calls", "errors"])
async def test_the_monitor_tab_counts_calls_and_errors(
    stack: Stack, api: JaegerApi, metric: str, service_and_kind: tuple[str, str]
) -> None:
    """Calls and errors of a service are there too, for the kinds of spans that the tab offers."""
    shown = _after_another_order(stack, lambda: _points(api, metric, *service_and_kind))
    assert await eventually(shown, timeout_s=_SHOWN_S)


def test_the_page_has_its_configuration(api: JaegerApi) -> None:
    """Jaeger writes the shipped configuration into its page."""
    page = api.page()
    configured = re.search(r"^JAEGER_CONFIG = (.*);$", page, re.MULTILINE)
    assert configured
    assert json.loads(configured[1]) == json.loads((ROOT / "deploy/jaeger/ui.json").read_text())


def _after_another_order(stack: Stack, ask: Callable[[], T]) -> Callable[[], T]:
    """Return a question that places an order first: Prometheus knows the rate of what grows while it looks."""

    def asked() -> T:
        stack.orders.place(SCENARIOS[0].order)
        return ask()

    return asked


def _points(api: JaegerApi, metric: str, service: str, kind: str, **more: str) -> dict[str, list[Any]]:
    """Ask as the Monitor tab does; return the points that are numbers, by operation."""
    asked: dict[str, str | int] = {
        "endTs": int(time.time() * 1000),
        "lookback": 60_000,
        "step": 5_000,
        "ratePer": _RATE_S * 1000,
        **more,
    }
    family = api.ask(f"metrics/{metric}", service=service, spanKind=kind, groupByOperation="true", **asked)
    found = {}
    for series in family["metrics"]:
        labels = {label["name"]: label["value"] for label in series["labels"]}
        values = [(point["timestamp"], point["gaugeValue"]["doubleValue"]) for point in series["metricPoints"]]
        if numbers := [(moment, value) for moment, value in values if not math.isnan(float(value))]:
            found[labels["operation"]] = numbers
    return found


def _latencies(api: JaegerApi, service: str, kind: str) -> dict[str, tuple[str, float]]:
    points = _points(api, "latencies", service, kind, quantile="0.95")
    return {operation: (numbers[-1][0], float(numbers[-1][1])) for operation, numbers in points.items()}


def _percentile(prometheus: Prometheus, service: str, operation: str, moment: str) -> float:
    """Evaluate the percentile of a service's operation at the same moment."""
    series = f'service_name="{service}", span_name="{operation}", span_kind="SPAN_KIND_CONSUMER"'
    rate = f"rate(traces_span_metrics_duration_milliseconds_bucket{{{series}}}[{_RATE_S}s])"
    asked = prometheus.ask("query", query=f"histogram_quantile(0.95, sum by (le) ({rate}))", time=moment)
    return float(asked["result"][0]["value"][1])


def _durations_ms(api: JaegerApi, orders: list[ScenarioResult], operation: str) -> list[float]:
    spans = [span for one in orders for span in api.trace(_placed(one).trace_id)["spans"]]
    return [span["duration"] / 1000 for span in spans if span["operationName"] == operation]
