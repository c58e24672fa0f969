"""The shipped collector's queue: no span is lost while Jaeger is down or the collector restarts."""

import secrets
from typing import Any

import pytest

from tests.servers.pool import Servers
from tests.support.eventually import eventually
from tests.support.otlp import otlp_span, send_spans, spans_of
from tests.support.sources import ROOT

_SHIPPED = ROOT / "otel-collector.yaml"
_TRACES = 20


@pytest.mark.timeout(120)
async def test_spans_wait_for_jaeger_on_disk(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Spans that came while Jaeger was down are in it when both are back, with those that it had before."""
    jaeger = servers.jaeger(durable=True)
    here: dict[str, Any] = {
        "extensions": {"file_storage/queue": {"directory": str(tmp_path_factory.mktemp("queue"))}},
        "exporters": {
            "otlp_grpc/jaeger": {"endpoint": jaeger.address.otlp_grpc},
            "otlp_http/prometheus": {"endpoint": "http://127.0.0.1:1"},
        },
        "service": {"telemetry": {"metrics": {"level": "none", "readers": []}}},
    }
    collector = servers.collector(_SHIPPED, here)
    before, during = secrets.token_hex(16), [secrets.token_hex(16) for _ in range(_TRACES)]
    send_spans(collector.address.otlp_http, [otlp_span(before)])
    await eventually(lambda: spans_of(jaeger.address, before), timeout_s=20)
    jaeger.stop()
    for trace in during:
        send_spans(collector.address.otlp_http, [otlp_span(trace)])
    collector.stop()
    collector.start()
    jaeger.start()

    def all_are_there() -> bool:
        assert [trace for trace in (before, *during) if not spans_of(jaeger.address, trace)] == []
        return True

    await eventually(all_are_there, timeout_s=40)
