"""What a traced message costs, in counts: a time would tell of the machine."""

import sys
from types import FrameType
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

import tracing
from tests.support.receiver import http_receiver
from tracing import kafka_span, telemetry
from tracing.kafka_span import KafkaSpan
from tracing.options import Options
from tracing.otlp.encoding import encode_span
from tracing.telemetry import Telemetry

TRACEPARENT = (("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),)
RECORD: Any = ConsumerRecord("orders", 1, 42, 1_700_000_000_000, 0, b"order-1", b"x" * 300, None, 7, 300, TRACEPARENT)
#: Python functions that `process` may call for one message, its end and its encoding included.
CALLS = 59
#: Of one process span in the request; the convention's attribute names are most of it.
BYTES = 650

pytestmark = pytest.mark.skipif("_no_such_name" in kafka_span.PRIVATE, reason="no span is lean in this run")


class Encoding(SpanProcessor):
    """Encodes, as the export does."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.bodies: list[bytes] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Encode it."""
        self.spans.append(span)
        self.bodies.append(encode_span(span))


@pytest.fixture
def encoding(monkeypatch: pytest.MonkeyPatch) -> Encoding:
    """Where the spans of this test go."""
    processor = Encoding()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    monkeypatch.setattr(telemetry, "_default", Telemetry(Options(tracer_provider=provider)))
    return processor


def process() -> None:
    """Handle a message."""
    with tracing.process(RECORD, group="g"):
        pass


def calls_of_process() -> int:
    """Count the Python functions that are called for one message."""
    count = 0

    def called(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(called)
    try:
        process()
    finally:
        sys.setprofile(None)
    return count


def test_a_message_costs_few_calls_one_span_and_few_bytes(encoding: Encoding) -> None:
    """Once everything that repeats is known, a processed message is one lean span within these bounds."""
    for _ in range(3):
        process()
    assert calls_of_process() <= CALLS
    assert len(encoding.spans) == 4
    assert type(encoding.spans[-1]) is KafkaSpan
    assert len(encoding.bodies[-1]) <= BYTES


def test_a_batch_is_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many messages as fit a batch cost one request."""
    with http_receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.address)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(tracing.EncodingSpanProcessor())
        monkeypatch.setattr(telemetry, "_default", Telemetry(Options(tracer_provider=provider)))
        for _ in range(500):
            process()
        provider.shutdown()
        assert receiver.sizes == [500]
