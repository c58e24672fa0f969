"""Jaeger, the collector and Prometheus as tests have them."""

import json
import secrets
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.servers.collector import CollectorAddress, forwarding
from tests.servers.jaeger import JaegerAddress
from tests.servers.pool import Servers
from tests.servers.prometheus import promtool
from tests.support.eventually import eventually


@pytest.fixture
def trace_id() -> str:
    """The id of a trace that nobody else has."""
    return secrets.token_hex(16)


async def _send(otlp_http: str, trace_id: str) -> httpx2.Response:
    now = time.time_ns()
    span = {
        "traceId": trace_id,
        "spanId": trace_id[:16],
        "name": "checked",
        "kind": 1,
        "startTimeUnixNano": str(now),
        "endTimeUnixNano": str(now + 1000),
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "checking"}}]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}
    return await _ask(f"{otlp_http}/v1/traces", method="POST", json=body)


async def _ask(url: str, *, method: str = "GET", **request: Any) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=50) as client:
        return await client.request(method, url, **request)


async def _is_recorded(jaeger: JaegerAddress, trace_id: str) -> bool:
    answer = await _ask(f"{jaeger.url}/api/v3/traces/{trace_id}")
    return answer.status_code == 200 and len(answer.json()["result"]["resourceSpans"]) == 1


async def test_a_span_goes_to_jaeger(jaeger: JaegerAddress, trace_id: str) -> None:
    """A span that Jaeger took is found by its trace's id, and its service is listed; another trace is not there."""
    assert (await _send(jaeger.otlp_http, trace_id)).status_code == 200
    await eventually(lambda: _is_recorded(jaeger, trace_id))
    assert "checking" in (await _ask(f"{jaeger.url}/api/v3/services")).json()["services"]
    assert (await _ask(f"{jaeger.url}/api/v3/traces/{secrets.token_hex(16)}")).status_code == 404


async def test_a_span_goes_through_the_collector(
    collector: CollectorAddress, jaeger: JaegerAddress, trace_id: str
) -> None:
    """The collector is healthy, takes a span, and hands it on to Jaeger."""
    assert (await _ask(collector.health)).status_code == 200
    assert (await _send(collector.otlp_http, trace_id)).json() == {"partialSuccess": {}}
    await eventually(lambda: _is_recorded(jaeger, trace_id))


async def test_a_durable_jaeger_keeps_its_spans(servers: Servers, trace_id: str) -> None:
    """A Jaeger that was killed has its spans when it is started again, if it keeps them in a folder."""
    server = servers.jaeger(durable=True)
    await _send(server.address.otlp_http, trace_id)
    await eventually(lambda: _is_recorded(server.address, trace_id))
    server.kill()
    server.start()
    assert await _is_recorded(server.address, trace_id)


async def test_a_collector_reads_its_environment(servers: Servers, jaeger: JaegerAddress, trace_id: str) -> None:
    """A configuration may name variables, and a later one changes what an earlier one says."""
    first = forwarding("127.0.0.1:1")
    then = {"exporters": {"otlp_grpc": {"endpoint": "${env:SPANS_GO_TO}"}}}
    server = servers.collector(first, then, environment={"SPANS_GO_TO": jaeger.otlp_grpc})
    await _send(server.address.otlp_http, trace_id)
    await eventually(lambda: _is_recorded(jaeger, trace_id))


async def test_prometheus_answers_queries(prometheus: str) -> None:
    """Prometheus is ready, and evaluates an expression."""
    assert (await _ask(f"{prometheus}/-/ready")).status_code == 200
    answer = await _ask(f"{prometheus}/api/v1/query", params={"query": "1 + 1"})
    assert answer.json()["data"]["result"][1] == "2"


@pytest.mark.parametrize(("expression", "code"), [("up == 0", 0), ("up ==", 1)])
def test_promtool_checks_rules(servers: Servers, tmp_path: Path, expression: str, code: int) -> None:
    """A rule that parses passes, and one that does not is refused."""
    rules = tmp_path / "rules.yml"
    rules.write_text(json.dumps({"groups": [{"name": "g", "rules": [{"alert": "Down", "expr": expression}]}]}))
    assert promtool(servers.programs("prometheus"), "check", "rules", str(rules)).returncode == code
