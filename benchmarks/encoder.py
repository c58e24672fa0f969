"""Compare the two encoders on the same spans: finished SDK spans of received Kafka messages, in batches as exported.

As a program it prints microseconds of CPU a span as JSON, one value a measurement, for both. Our encoder encodes each
span and then puts the batch into a request; the official one does both at once. `ours_cold` is what ours takes for one
span when the CPU's caches hold something else, as in a process that was woken for a single message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from time import process_time_ns
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context
from opentelemetry.util.types import AttributeValue

from tracing import semconv
from tracing.otlp import encode_request, encode_span

_BATCH: Final = 512
_MEASUREMENTS: Final = 30
#: More than the caches of a core hold.
_OTHER_BYTES: Final = 32 << 20
_CACHE_LINE: Final = 64
_TOPIC: Final = "bench.orders.sampled"

#: Microseconds a span, by encoder: `official` and `ours`.
Timings = Mapping[str, Sequence[float]]


class _Ended(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def _spans() -> list[ReadableSpan]:
    """Return spans like those of `tracing.process`, with ten attributes and a link."""
    ended = _Ended()
    provider = TracerProvider(ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(ended)
    names = semconv.NAMES[""]
    tracer = provider.get_tracer(semconv.SCOPE, "1", names.schema_url)
    for number in range(1, _BATCH + 1):
        sender = SpanContext(number << 96 | number, number, is_remote=True, trace_flags=TraceFlags(1))
        attributes: dict[str, AttributeValue] = {
            names.system: semconv.KAFKA,
            semconv.MESSAGING_OPERATION_NAME: semconv.PROCESS,
            semconv.MESSAGING_OPERATION_TYPE: semconv.PROCESS,
            semconv.MESSAGING_DESTINATION_NAME: _TOPIC,
            semconv.MESSAGING_CONSUMER_GROUP_NAME: "bench-orders",
            semconv.MESSAGING_DESTINATION_PARTITION_ID: str(number % 4),
            names.offset: number * 1000,
            names.message_key: f"order-{number:08d}",
            semconv.QUEUE_TIME_MS: number // 7,
            "order.id": f"order-{number:08d}",
        }
        context = set_span_in_context(NonRecordingSpan(sender))
        tracer.start_span(f"process {_TOPIC}", context, SpanKind.CONSUMER, attributes, [Link(sender)]).end()
    return ended.spans


def _official(spans: Sequence[ReadableSpan]) -> bytes:
    written: bytes = encode_spans(spans).SerializePartialToString()
    return written


def _ours(spans: Sequence[ReadableSpan]) -> bytes:
    return encode_request((span.resource, span.instrumentation_scope, encode_span(span)) for span in spans)


_ENCODERS: Final[Mapping[str, Callable[[Sequence[ReadableSpan]], bytes]]] = {"official": _official, "ours": _ours}


def measure() -> Timings:
    """Measure both encoders in turn."""
    spans = _spans()
    timings: dict[str, list[float]] = {name: [] for name in _ENCODERS}
    for _ in range(_MEASUREMENTS):
        for name, encode in _ENCODERS.items():
            started = process_time_ns()
            encode(spans)
            timings[name].append((process_time_ns() - started) / 1000 / _BATCH)
    return timings


def cold() -> list[float]:
    """Measure our encoder on single spans, each after other memory was read."""
    spans, other = _spans(), memoryview(bytearray(_OTHER_BYTES))[::_CACHE_LINE]
    timings: list[float] = []
    for span in spans:
        other.tobytes()
        started = process_time_ns()
        encode_span(span)
        timings.append((process_time_ns() - started) / 1000)
    return timings


def ratio(timings: Timings) -> float:
    """Return the official encoder's CPU time over ours, by the minima."""
    return min(timings["official"]) / min(timings["ours"])


if __name__ == "__main__":
    print(json.dumps({**measure(), "ours_cold": cold()}))
