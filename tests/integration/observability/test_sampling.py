"""The sampling variant: which traces are kept, and that all are counted."""

import secrets
from typing import Any

import pytest

from tests.servers.jaeger import JaegerAddress
from tests.servers.pool import Servers
from tests.support.deployment import load
from tests.support.eventually import eventually
from tests.support.otlp import otlp_span, send_spans, spans_of
from tests.support.sources import ROOT

_SHIPPED = ROOT / "otel-collector.yaml"
_SAMPLED = ROOT / "deploy/otel-collector.sampling.yaml"
_KEPT: dict[str, dict[str, Any]] = {
    "an error": {"status": {"code": 2}},
    "a saga that failed": {"attributes": {"saga.outcome": "failed"}},
    "a saga that was canceled": {"attributes": {"saga.outcome": "canceled"}},
    "a saga that turned back": {"attributes": {"saga.state.to": "failing_release"}},
    "a slow one": {"ms": 2500},
    "a retry": {"events": [{"name": "retry", "timeUnixNano": "1"}]},
}
_USUAL = 40


@pytest.fixture
def otlp(servers: Servers, jaeger: JaegerAddress, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A collector that samples with the shipped policies, without the baseline's chance and with little patience."""
    here = {
        "extensions": {"file_storage/queue": {"directory": str(tmp_path_factory.mktemp("queue"))}},
        "processors": {"tail_sampling": {"decision_wait": "1s", "policies": _without_chance()}},
        "exporters": {
            "otlp_grpc/jaeger": {"endpoint": jaeger.otlp_grpc},
            "otlp_http/prometheus": {"endpoint": "http://127.0.0.1:1"},
        },
        "service": {
            "pipelines": {"metrics": {"receivers": ["otlp", "spanmetrics", "servicegraph"]}},
            "telemetry": {"metrics": {"level": "none", "readers": []}},
        },
    }
    return servers.collector(_SHIPPED, _SAMPLED, here).address.otlp_http


@pytest.mark.timeout(120)
async def test_what_fails_compensates_or_is_slow_is_kept(otlp: str, jaeger: JaegerAddress) -> None:
    """Each trace with a reason to be looked at is kept, whole; of those without, none."""
    kept = {name: secrets.token_hex(16) for name in _KEPT}
    usual = [secrets.token_hex(16) for _ in range(_USUAL)]
    # The reason is in the second span: the first, sent before, has to wait for it.
    send_spans(otlp, [otlp_span(trace) for trace in (*kept.values(), *usual)])
    send_spans(otlp, [otlp_span(kept[name], **reason) for name, reason in _KEPT.items()])
    send_spans(otlp, [otlp_span(trace, attributes={"saga.outcome": "completed"}) for trace in usual])

    def all_are_whole() -> bool:
        assert {name for name, trace in kept.items() if spans_of(jaeger, trace) != 2} == set()
        return True

    await eventually(all_are_whole, timeout_s=30)
    # They were decided on at the same time.
    assert sum(spans_of(jaeger, trace) for trace in usual) == 0


def _without_chance() -> list[Any]:
    policies: list[Any] = load("deploy/otel-collector.sampling.yaml")["processors"]["tail_sampling"]["policies"]
    return [policy for policy in policies if policy["type"] != "probabilistic"]
