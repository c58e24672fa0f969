"""`configure()` and `shutdown()`: the OpenTelemetry SDK of a program, set up from the standard variables.

A program calls `configure()` once, in its main function; a library never does. A provider that is already set
(by `opentelemetry-instrument` or a test) stays: it only gets the bound attributes, and `shutdown()` leaves it open.
"""

from __future__ import annotations

import atexit
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

from opentelemetry import metrics, trace
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.util.types import AttributeValue

from tracing import config_file, exposure, faults, identity
from tracing.errors import InvalidSetting
from tracing.otlp import EncodingSpanProcessor, official_exporter, survive_forks, takes_bytes
from tracing.processors import (
    BoundAttributesSpanProcessor,
    CountingBatchSpanProcessor,
    ForkableMetricReader,
    milliseconds,
)
from tracing.propagators import propagate
from tracing.resource import program_attributes, resource_of
from tracing.semconv import SERVICE_NAME
from tracing.settings import SHUTDOWN_TIMEOUT_S, TelemetrySettings, config_file_path

if TYPE_CHECKING:
    from tracing.journal import Journal

_log: Final = logging.getLogger("tracing")

_SAMPLERS: Final[Mapping[str, Callable[[float], Sampler]]] = {
    "always_on": lambda _: ALWAYS_ON,
    "always_off": lambda _: ALWAYS_OFF,
    "traceidratio": TraceIdRatioBased,
    "parentbased_always_on": lambda _: ParentBased(ALWAYS_ON),
    "parentbased_always_off": lambda _: ParentBased(ALWAYS_OFF),
    "parentbased_traceidratio": lambda ratio: ParentBased(TraceIdRatioBased(ratio)),
}


class FactIdGenerator(RandomIdGenerator):
    """Generates random ids, except for the span id that `identity.known_as` asks for."""

    def generate_span_id(self) -> int:
        """Return the id of a new span."""
        wanted = identity.take()
        return super().generate_span_id() if wanted is None else wanted


class _Configured:
    """What `configure` built, for `shutdown` to close."""

    def __init__(self, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None) -> None:
        self.tracer_provider = tracer_provider
        self.meter_provider = meter_provider
        #: Whether a file described them, so that the time limits of what they hold are not ours.
        self.described = False
        self.processors: list[CountingBatchSpanProcessor | EncodingSpanProcessor] = []
        self.journal: Journal | None = None


_lock: Final = threading.Lock()
_configured: _Configured | None = None


def configure(  # noqa: PLR0913 - whoever calls it names them
    service_name: str | None = None,
    *,
    service_version: str | None = None,
    service_namespace: str | None = None,
    resource_attributes: Mapping[str, AttributeValue] | None = None,
    span_processors: Sequence[SpanProcessor] = (),
    journal: Path | None = None,
) -> None:
    """Set up tracing, metrics and propagation from the OTEL_* variables; a second call does nothing.

    Args:
        service_name: `service.name`, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES gives one.
        service_version: `service.version`, likewise.
        service_namespace: `service.namespace`, the system of which the service is a part, likewise.
        resource_attributes: further attributes of the resource; the environment overrides them. Those of the host are
            there without being named (see `host`).
        span_processors: called for each span before it is exported.
        journal: a folder that outlives the process. The span journal is kept in a subfolder with the service's name;
            from it the next process ships what a killed one had not exported. SAGATRACE_JOURNAL_DIR overrides it, and
            `none` there means no journal. A provider that was already set has none.

    Where OTEL_CONFIG_FILE names a file, it describes the SDK, and the other variables do not count. What is ours is
    added: bound attributes, the span processors, and the attributes of the resource that the file lacks. There is no
    journal.

    Raises:
        InvalidSetting: a variable has an invalid value, or names something that is not installed.
    """
    global _configured  # noqa: PLW0603 - the SDK is global, and so is whether it has been set up
    with _lock:
        if _configured is not None:
            return
        if (file := config_file_path()) is not None:
            program = program_attributes(service_name, service_version, service_namespace, resource_attributes)
            _configured = _set_up_from(file, program, span_processors)
            if journal is not None:
                _log.warning("OTEL_CONFIG_FILE describes the export of spans, so there is no span journal")
            return  # The providers close themselves at exit.
        settings = TelemetrySettings.from_environment()
        if settings.disabled:
            _configured = _Configured(None, None)
            return
        propagate.set_global_textmap(_propagator(settings))
        resource = resource_of(service_name, service_version, service_namespace, resource_attributes)
        # Metrics first: the span processor counts its drops there.
        meter_provider = _set_up_metrics(settings, resource)
        folder = journal if settings.journal is None else Path(settings.journal) if settings.journal else None
        _configured = _set_up_tracing(settings, resource, span_processors, folder)
        _configured.meter_provider = meter_provider
        atexit.register(shutdown)


def _set_up_from(
    file: str, attributes: Mapping[str, AttributeValue], processors: Sequence[SpanProcessor]
) -> _Configured:
    """Leave the SDK to a file, unless that was done before us, as by `opentelemetry-instrument`."""
    configured = _Configured(None, None)
    if not (_sdk_tracers() or _sdk_meters()):
        config_file.set_up(file, attributes)
        configured = _Configured(_sdk_tracers(), _sdk_meters())
        configured.described = True
    _add_processors(_sdk_tracers(), processors)
    return configured


def _sdk_tracers() -> TracerProvider | None:
    provider = trace.get_tracer_provider()
    return provider if isinstance(provider, TracerProvider) else None


def _sdk_meters() -> MeterProvider | None:
    provider = metrics.get_meter_provider()
    return provider if isinstance(provider, MeterProvider) else None


def _add_processors(provider: TracerProvider | None, processors: Sequence[SpanProcessor]) -> None:
    if provider is not None:
        for processor in (BoundAttributesSpanProcessor(), *processors):
            provider.add_span_processor(processor)


def _propagator(settings: TelemetrySettings) -> TextMapPropagator:
    if "none" in settings.propagators:
        return CompositePropagator([])
    found: list[TextMapPropagator] = []
    for name in settings.propagators:
        entry = next(iter(entry_points(group="opentelemetry_propagator", name=name)), None)
        if entry is None:
            raise InvalidSetting(f"OTEL_PROPAGATORS names {name!r}, for which no propagator is installed")
        found.append(entry.load()())
    found.append(exposure.EXPOSING)
    return CompositePropagator(found)


def _set_up_metrics(settings: TelemetrySettings, resource: Resource) -> MeterProvider | None:
    if not settings.metrics_exporters or _sdk_meters() is not None:
        return None
    exporters: list[MetricExporter] = [
        official_exporter("metrics", name, settings.metrics_protocol) for name in settings.metrics_exporters
    ]
    readers = [ForkableMetricReader(exporter, settings.metric_interval_ms) for exporter in exporters]
    provider = MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    return provider


def _set_up_tracing(
    settings: TelemetrySettings, resource: Resource, processors: Sequence[SpanProcessor], folder: Path | None
) -> _Configured:
    if (foreign := _sdk_tracers()) is not None:
        _add_processors(foreign, processors)
        return _Configured(None, None)
    sampler = _SAMPLERS[settings.sampler](settings.sampling_ratio)
    ids = FactIdGenerator()
    provider = TracerProvider(sampler=sampler, resource=resource, id_generator=ids, shutdown_on_exit=False)
    configured = _Configured(provider, None)
    _add_processors(provider, processors)
    exporters = [official_exporter("traces", name, settings.traces_protocol) for name in settings.traces_exporters]
    if exporters and folder is not None:
        configured.journal = _journal(folder, resource, is_fed=_encodes(exporters[0], settings))
        provider.add_span_processor(configured.journal)
    for number, exporter in enumerate(exporters):
        # A span that the first exporter has taken is safe; the second one, if any, is the console.
        batches = _batching(exporter, settings, configured.journal if number == 0 else None)
        configured.processors.append(batches)
        provider.add_span_processor(batches)
    if configured.journal is not None:
        configured.journal.recover(configured.processors[0].on_end)
        exposure.listen(configured.journal.expose)
    trace.set_tracer_provider(provider)
    return configured


def _batching(
    exporter: SpanExporter, settings: TelemetrySettings, journal: Journal | None
) -> CountingBatchSpanProcessor | EncodingSpanProcessor:
    """Return the processor for an exporter: ours where spans are encoded when they end, else the SDK's."""
    if not _encodes(exporter, settings):
        survive_forks(exporter)
        return CountingBatchSpanProcessor(exporter if journal is None else journal.exporting(exporter), settings)
    if journal is None:
        return EncodingSpanProcessor(exporter, settings)
    return EncodingSpanProcessor(exporter, settings, exported=journal.arrived, ended=journal.ended)


def _encodes(exporter: SpanExporter, settings: TelemetrySettings) -> bool:
    """Return whether spans for an exporter are encoded when they end; the console and the official path take spans."""
    return settings.span_export == "encoded" and takes_bytes(exporter)


def _journal(folder: Path, resource: Resource, *, is_fed: bool) -> Journal:
    """Open the journal of a service, in a subfolder with its name."""
    from tracing.journal import Journal  # noqa: PLC0415 - it needs POSIX, and only programs that ask for it load it

    name = re.sub(r"[^A-Za-z0-9._-]", "_", str(resource.attributes.get(SERVICE_NAME, ""))).strip(".")
    return Journal(folder / (name or "service"), is_fed=is_fed)


def dropped_spans() -> int:
    """Return how many spans were dropped since `configure` because the exporter could not keep up."""
    return sum(processor.dropped for processor in _configured.processors) if _configured is not None else 0


def shutdown(timeout_s: float = SHUTDOWN_TIMEOUT_S) -> bool:
    """Export what is left and close what `configure` opened; a second call does nothing.

    Args:
        timeout_s: seconds after which it returns, whether or not a collector has taken everything. Threads of the SDK
            that still wait for the collector are left behind, and end with the process.

    Returns:
        Whether everything was closed in time.
    """
    with _lock:
        configured = _configured
        if configured is None:
            return True
        tracer_provider, configured.tracer_provider = configured.tracer_provider, None
        meter_provider, configured.meter_provider = configured.meter_provider, None
    atexit.unregister(shutdown)
    deadline = monotonic() + timeout_s
    if tracer_provider is not None:
        # Before the provider, which would give each of them the SDK's 30 s.
        for processor in configured.processors:
            _close(partial(processor.shutdown, deadline - monotonic()))
        if configured.described:
            _close_within(deadline - monotonic(), tracer_provider.shutdown)
        else:
            _close(tracer_provider.shutdown)
    if configured.journal is not None:
        exposure.listen(None)
        _close(configured.journal.close)
    if meter_provider is not None:
        _close(lambda: meter_provider.shutdown(timeout_millis=milliseconds(deadline - monotonic())))
    return monotonic() < deadline


def _close_within(timeout_s: float, close: Callable[[], None]) -> None:
    """Close a provider, and leave it behind where that takes longer."""
    thread = threading.Thread(target=_close, args=(close,), name="closing a provider", daemon=True)
    thread.start()
    thread.join(max(0.0, timeout_s))


def _close(close: Callable[[], None]) -> None:
    try:
        close()
    except Exception as error:  # noqa: BLE001 - the program is ending, and the other provider still has to close
        faults.report("closing a provider", error)
