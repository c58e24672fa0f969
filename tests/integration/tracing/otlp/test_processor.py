"""Spans that are encoded when they end, on their way to a receiver over HTTP and gRPC."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.trace import Tracer

import tracing
from tests.runs.slowness import is_within
from tests.support.eventually import eventually
from tests.support.receiver import UNAVAILABLE, Receiver, grpc_receiver, http_receiver
from tracing.otlp import processor as exporting
from tracing.otlp import transport
from tracing.settings import TelemetrySettings

SETTINGS = replace(TelemetrySettings.from_environment({}), schedule_delay_ms=20)
Export = Callable[..., tuple[tracing.EncodingSpanProcessor, Tracer]]


@pytest.fixture(params=["http", "grpc"])
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    """A receiver over either protocol."""
    opened: dict[str, Callable[[], AbstractContextManager[Receiver]]] = {"http": http_receiver, "grpc": grpc_receiver}
    with opened[request.param]() as found:
        yield found


@pytest.fixture
def export(receiver: Receiver) -> Iterator[Export]:
    """Start a processor that exports to the receiver, and a tracer before it."""
    providers = []

    def start(**settings: Any) -> tuple[tracing.EncodingSpanProcessor, Tracer]:
        exporter: Any
        if receiver.protocol == "http":
            exporter = HttpExporter(f"{receiver.address}/v1/traces", timeout=1, headers={"tenant": "t-1"})
        else:
            exporter = GrpcExporter(receiver.address, insecure=True, timeout=1, headers={"tenant": "t-1"})
        processor = tracing.EncodingSpanProcessor(exporter, replace(SETTINGS, **settings))
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        providers.append(provider)
        return processor, provider.get_tracer("test")

    yield start
    receiver.answering.set()
    for provider in providers:
        provider.shutdown()


def end_spans(tracer: Tracer, count: int, start: int = 0) -> list[str]:
    """End so many spans and return their names."""
    names = [f"span {number}" for number in range(start, start + count)]
    for name in names:
        tracer.start_span(name).end()
    return names


def test_every_span_arrives_once_and_in_order(receiver: Receiver, export: Export) -> None:
    """Batches are as large as OTEL_BSP_MAX_EXPORT_BATCH_SIZE says, and the exporter's headers go with them."""
    processor, tracer = export(batch_size=100)
    names = end_spans(tracer, 1050)
    assert processor.force_flush()
    assert receiver.names == names
    assert max(receiver.sizes) == 100
    assert receiver.headers["tenant"] == "t-1"
    assert processor.dropped == 0


@pytest.mark.parametrize("batch_size", [1, 2, 10, 31, 32, 33, 40, 100, 101, 512])
async def test_a_full_batch_leaves_at_once(batch_size: int, http: Receiver) -> None:
    """Whatever OTEL_BSP_MAX_EXPORT_BATCH_SIZE is, no full batch waits for the delay, and no span for the next batch."""
    processor, provider = over_http(http, batch_size=batch_size)
    for _ in range(3):
        http.names.clear()
        names = end_spans(provider.get_tracer("test"), batch_size)
        await eventually(lambda names=names: http.names == names)  # type: ignore[misc]
    assert processor.dropped == 0
    provider.shutdown()


@pytest.mark.parametrize("queue_size", [1, 5, 20, 40, 64])
async def test_a_small_queue_loses_nothing_that_it_has_room_for(queue_size: int, http: Receiver) -> None:
    """As many spans as OTEL_BSP_MAX_QUEUE_SIZE says can end at once, again and again, if the receiver takes them."""
    processor, provider = over_http(http, queue_size=queue_size, batch_size=queue_size)
    names: list[str] = []
    for burst in range(5):
        names = names + end_spans(provider.get_tracer("test"), queue_size, start=burst * queue_size)
        await eventually(lambda names=names: http.names == names)  # type: ignore[misc]
    assert http.names == names
    assert processor.dropped == 0
    provider.shutdown()


async def test_a_lonely_span_leaves_after_the_delay(receiver: Receiver, export: Export) -> None:
    """Nobody has to flush."""
    _, tracer = export()
    names = end_spans(tracer, 1)
    await eventually(lambda: receiver.names == names)


async def test_nothing_is_lost_while_the_receiver_is_slow(
    receiver: Receiver, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver that answers nothing for a while, longer than the exporter waits, gets every span once it answers."""
    monkeypatch.setattr(exporting, "_PAUSE_S", 0.05)
    processor, tracer = export(batch_size=10)
    receiver.answering.clear()
    names = end_spans(tracer, 30)
    # The exporter has a patience of a second: who asks again has given up once.
    await eventually(lambda: receiver.requests > 1)
    names += end_spans(tracer, 30, start=30)
    receiver.answering.set()
    await eventually(lambda: set(receiver.names) >= set(names))
    assert processor.dropped == 0


async def test_a_receiver_that_is_busy_is_asked_again(
    receiver: Receiver, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A passing refusal costs no span."""
    monkeypatch.setattr(exporting, "_PAUSE_S", 0.05)
    processor, tracer = export()
    receiver.answers = [UNAVAILABLE] * 3
    names = end_spans(tracer, 5)
    await eventually(lambda: receiver.names == names)
    assert processor.dropped == 0


async def test_what_the_receiver_refuses_for_good_is_counted_and_not_sent_again(
    receiver: Receiver, export: Export
) -> None:
    """A bad request stays one, and those behind it get their turn."""
    processor, tracer = export()
    receiver.answers = [400]
    end_spans(tracer, 3)
    await eventually(lambda: processor.dropped == 3)
    names = end_spans(tracer, 2)
    assert processor.force_flush()
    assert receiver.names == names


def test_spans_that_end_while_others_are_exported_keep_their_order(receiver: Receiver, export: Export) -> None:
    """Two threads that find spans to encode do not mix them up, however often they take turns."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        processor, tracer = export(batch_size=8, schedule_delay_ms=1)
        names = end_spans(tracer, 12_000)
        assert processor.force_flush()
    finally:
        sys.setswitchinterval(usual)
    assert receiver.names == names


async def test_a_dead_receiver_costs_bounded_memory_and_a_line_a_second(
    receiver: Receiver, export: Export, caplog: pytest.LogCaptureFixture
) -> None:
    """The oldest spans leave; thousands of losses are one line of the log."""
    processor, tracer = export(queue_bytes=10_000, batch_size=10)
    receiver.answering.clear()
    with caplog.at_level(logging.WARNING, logger="tracing"):
        end_spans(tracer, 3000)
        assert processor.dropped > 2900
        assert processor._queue.size <= 10_000
        receiver.answering.set()
        await eventually(lambda: "span 2999" in receiver.names)
        processor.shutdown()
    lines = [record for record in caplog.records if "were lost" in record.getMessage()]
    assert 1 <= len(lines) <= 5
    assert sum(int(record.getMessage().split()[0]) for record in lines) == processor.dropped


def test_shutdown_exports_what_waits_and_then_refuses(receiver: Receiver, export: Export) -> None:
    """A span that ends later is counted as lost, and nothing hangs."""
    processor, tracer = export(schedule_delay_ms=60_000)
    names = end_spans(tracer, 20)
    processor.shutdown()
    assert receiver.names == names
    end_spans(tracer, 1)
    assert processor.dropped == 1
    assert not processor.force_flush()


async def test_shutdown_is_bounded_by_its_deadline(receiver: Receiver, export: Export) -> None:
    """A receiver that hangs costs the time given; what it did not take is counted."""
    processor, tracer = export(schedule_delay_ms=60_000)
    receiver.answering.clear()
    end_spans(tracer, 20)
    started = time.monotonic()
    processor.shutdown(timeout_s=0.3)
    assert is_within(time.monotonic() - started, 3)
    await eventually(lambda: processor.dropped == 20)


def test_a_span_that_cannot_be_encoded_costs_itself_alone(receiver: Receiver, export: Export) -> None:
    """The official encoder loses the whole batch."""
    processor, tracer = export()
    tracer.start_span("\ud800").end()
    names = end_spans(tracer, 2)
    assert processor.force_flush()
    assert (receiver.names, processor.dropped) == (names, 1)


@pytest.fixture
def http() -> Iterator[Receiver]:
    """A receiver over HTTP, where one protocol is enough."""
    with http_receiver() as found:
        yield found


def over_http(
    receiver: Receiver, exported: Callable[[Sequence[int]], None] | None = None, **settings: Any
) -> tuple[tracing.EncodingSpanProcessor, TracerProvider]:
    """A provider that exports to the receiver."""
    exporter = HttpExporter(f"{receiver.address}/v1/traces")
    chosen = replace(SETTINGS, **{"schedule_delay_ms": 60_000, **settings})
    processor = tracing.EncodingSpanProcessor(exporter, chosen, exported=exported)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return processor, provider


def test_arrivals_are_told(http: Receiver) -> None:
    """A span journal hears of each span that has arrived, by its id."""
    arrived: list[int] = []
    _, provider = over_http(http, exported=arrived.extend)
    span = provider.get_tracer("test").start_span("a")
    span.end()
    provider.shutdown()
    assert arrived == [span.get_span_context().span_id]


def test_the_child_of_a_fork_exports_its_own_spans_and_not_its_parents(http: Receiver) -> None:
    """What waits at the fork is exported once, by the parent."""
    processor, provider = over_http(http)
    tracer = provider.get_tracer("test")
    end_spans(tracer, 3)
    child = os.fork()
    if child == 0:
        tracer.start_span("child").end()
        os._exit(0 if processor.force_flush() and processor.dropped == 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    provider.shutdown()
    assert sorted(http.names) == ["child", "span 0", "span 1", "span 2"]


def test_compression_is_the_exporters() -> None:
    """What is compressed and posted is what was encoded here."""
    with http_receiver() as receiver:
        exporter = HttpExporter(f"{receiver.address}/v1/traces", compression=Compression.Gzip)
        bodies: list[bytes] = []

        def keep(body: bytes) -> int:
            bodies.append(body)
            return 200

        receiver.take = keep  # type: ignore[method-assign]
        processor = tracing.EncodingSpanProcessor(exporter, SETTINGS)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        provider.get_tracer("test").start_span("a").end()
        provider.shutdown()
        assert receiver.headers["Content-Encoding"] == "gzip"
        assert bodies[0][:2] == b"\x1f\x8b"


def test_an_exporter_that_takes_no_bytes_is_refused() -> None:
    """Which one, the error says."""
    with pytest.raises(tracing.UnknownExporter, match="ConsoleSpanExporter"):
        tracing.EncodingSpanProcessor(ConsoleSpanExporter())


def test_an_exporter_without_the_private_names_has_no_transport() -> None:
    """A new version that is built otherwise goes the official way."""
    exporter = HttpExporter("http://127.0.0.1:9")
    del exporter._client
    assert transport.transport_of(exporter) is None


@pytest.mark.parametrize("known", [True, False])
def test_the_exporter_alone_goes_with_the_sdks_processors(known: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under any processor of the SDK, also where the transport is not known."""
    if not known:
        monkeypatch.setattr(transport, "_KNOWN", ())
    with http_receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.address)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(tracing.EncodingSpanExporter()))
        provider.get_tracer("test").start_span("a").end()
        provider.shutdown()
        assert receiver.names == ["a"]
