"""Jaeger's configuration and that of its page: they name what the others call so."""

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from services.messaging import semconv
from tests.support.deployment import composed, load
from tests.support.sources import ROOT

_JAEGER = load("deploy/jaeger/jaeger.yaml")["extensions"]
_PAGE = json.loads((ROOT / "deploy/jaeger/ui.json").read_text())
# `Config` in packages/jaeger-ui/src/types/config.tsx: an option under another name would be ignored without a word.
_OPTIONS = {"topTagPrefixes", "criticalPathEnabled", "search", "linkPatterns"}
# `VALID_TRACE_KEYS` and the functions of link-formatting.tsx.
_TRACE_KEYS = {"traceID", "traceName", "duration", "startTime", "endTime"}
_PARAMETER = re.compile(r"#\{([^{}]*)\}")
_FORMATS = {"epoch_micros_to_date_iso", "pad_start", "add"}
_DASHBOARDS = {
    f"/d/{json.loads(path.read_text())['uid']}" for path in (ROOT / "deploy/grafana/dashboards").glob("*.json")
}


def test_the_monitor_tab_asks_for_what_the_collector_writes() -> None:
    """Names and unit of the metrics are those of the collector; Jaeger's page takes latencies for milliseconds."""
    metrics = _JAEGER["jaeger_storage"]["metric_backends"][_JAEGER["jaeger_query"]["storage"]["metrics"]]["prometheus"]
    collector = load("otel-collector.yaml")["connectors"]["spanmetrics"]
    assert metrics["latency_unit"] == collector["histogram"]["unit"] == "ms"
    # The connector's default, and the names that Prometheus makes of what comes over OTLP.
    assert "namespace" not in collector
    assert metrics["metric_namespace"] == "traces_span_metrics"
    assert (metrics["normalize_calls"], metrics["normalize_duration"]) == (True, True)
    assert urlsplit(metrics["endpoint"]).hostname in composed("docker-compose.yml")["services"]


def test_the_page_is_configured_by_options_that_it_has() -> None:
    """Each option is one of Jaeger's page, and the critical path, which is wrong for what does not wait, is off."""
    assert _PAGE.keys() <= _OPTIONS
    assert _PAGE["criticalPathEnabled"] is False


def test_the_page_and_its_configuration_are_mounted_where_they_are_looked_for() -> None:
    """Compose mounts both files, and Jaeger names the one of its page."""
    mounted = composed("docker-compose.yml")["services"]["jaeger"]["volumes"]
    assert f"./deploy/jaeger/ui.json:{_JAEGER['jaeger_query']['ui']['config_file']}:ro" in mounted


def test_important_tags_are_written() -> None:
    """The tags that come first are those of an order: each prefix is that of a name the services write."""
    written = {value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str)}
    of_ours = [prefix for prefix in _PAGE["topTagPrefixes"] if prefix.startswith(("saga", "order"))]
    assert of_ours
    assert all(any(value.startswith(prefix) for value in written) for prefix in of_ours)


@pytest.mark.parametrize("link", _PAGE["linkPatterns"], ids=lambda link: link["text"])
def test_a_link_leads_somewhere(link: dict[str, str]) -> None:
    """A link is to Jaeger's own search, or to a dashboard that there is, and Jaeger fills all its parameters."""
    parameters = [re.split(r"\s*\|\s*", found) for found in _PARAMETER.findall(link["url"])]
    assert parameters
    address = urlsplit(_PARAMETER.sub("filled", link["url"]))
    if link["type"] == "tags":
        assert [[link["key"]]] == parameters == [[semconv.ORDER_ID]]
        assert address.path == "/search"
        assert json.loads(parse_qs(address.query)["tags"][0]) == {semconv.ORDER_ID: "filled"}
    else:
        assert {name for name, *_ in parameters} <= _TRACE_KEYS
        assert {format_.split()[0] for _, *formats in parameters for format_ in formats} <= _FORMATS
        assert address.netloc == "localhost:3000"
        assert address.path in _DASHBOARDS


def test_the_search_reaches_back_as_far_as_traces_are_kept() -> None:
    """The longest search is as long as Jaeger keeps spans: 7 days."""
    kept = _JAEGER["jaeger_storage"]["backends"]["kept"]["badger"]["ttl"]["spans"]
    assert (_PAGE["search"]["maxLookback"]["value"], kept) == ("7d", "168h")


def test_jaeger_is_no_service_of_its_own_list() -> None:
    """Jaeger records no traces of its own queries."""
    environment = composed("docker-compose.yml")["services"]["jaeger"]["environment"]
    assert environment == {"OTEL_TRACES_SAMPLER": "always_off"}


def test_all_containers_are_one_host_to_jaeger() -> None:
    """Every service sends the same `ip`, and what the shell adds comes after it and wins."""
    services = composed("docker-compose.yml")["services"]
    given = {services[name]["environment"]["OTEL_RESOURCE_ATTRIBUTES"] for name in ("oms", "inventory", "audit")}
    assert given == {"ip=127.0.0.1${OTEL_RESOURCE_ATTRIBUTES:+,${OTEL_RESOURCE_ATTRIBUTES:-}}"}
