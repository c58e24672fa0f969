"""Spans written by hand, sent over OTLP/HTTP and counted in Jaeger."""

import secrets
import time
from collections.abc import Mapping
from typing import Any

import httpx2

from tests.servers.jaeger import JaegerAddress

_MILLISECOND = 1_000_000


def otlp_span(
    trace: str,
    *,
    ms: int = 5,
    attributes: Mapping[str, str] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Make a span of a trace that has just ended and lasted so many milliseconds."""
    now = time.time_ns()
    named = [{"key": key, "value": {"stringValue": value}} for key, value in (attributes or {}).items()]
    times = {"startTimeUnixNano": str(now - ms * _MILLISECOND), "endTimeUnixNano": str(now)}
    ids = {"traceId": trace, "spanId": secrets.token_hex(8)}
    return {**ids, **times, "name": "sampled", "kind": 1, "attributes": named, **fields}


def send_spans(otlp: str, spans: list[dict[str, Any]]) -> None:
    """Send spans to an OTLP/HTTP address."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "sampled"}}]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}
    httpx2.post(f"{otlp}/v1/traces", json=body, timeout=100).raise_for_status()


def spans_of(jaeger: JaegerAddress, trace: str) -> int:
    """Count the spans of a trace that Jaeger has."""
    answer = httpx2.get(f"{jaeger.url}/api/v3/traces/{trace}", timeout=100)
    if answer.status_code == 404:
        return 0
    resources = answer.json()["result"]["resourceSpans"]
    return sum(len(scope["spans"]) for resource in resources for scope in resource["scopeSpans"])
