"""The OTEL_* variables that `configure()` obeys, read and checked in one place.

Source: OpenTelemetry specification, "SDK Environment Variables" and "OTLP Exporter Configuration". Endpoints, headers,
timeouts, certificates and resource attributes are read by the exporters and the SDK themselves. This module reads what
decides which of them are built, and checks the values that they would fail on later. Where the SDK would log a bad
value and use another, this module raises an error that names it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from tracing.errors import InvalidSetting

EXPORTERS: Final = ("otlp", "console", "none")
#: The name of our exporter for `opentelemetry-instrument`; `configure()` takes it as `otlp`.
ENCODING_EXPORTER: Final = "sagatrace"
PROTOCOLS: Final = ("http/protobuf", "grpc")
#: What the official exporters accept; for no compression with gRPC the variable has to be unset.
COMPRESSIONS: Final = {"http/protobuf": ("none", "gzip", "deflate"), "grpc": ("gzip",)}
#: How spans are exported: encoded when they end, or by the SDK's batch processor and encoder.
SPAN_EXPORTS: Final = ("encoded", "official")
SAMPLERS: Final = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)
#: What the SDK's exemplar filter accepts, in this case.
EXEMPLAR_FILTERS: Final = ("trace_based", "always_on", "always_off")
#: The SDK's limits of spans: it reads them when the provider is made.
SPAN_LIMITS: Final = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
)
#: The SDK's default of 2048 spans is one second of a busy producer; 32768 take at most about 50 MB.
QUEUE_SIZE: Final = 32_768
#: Bytes of encoded spans in the queue; 32768 Kafka spans take about 20 MB.
QUEUE_BYTES: Final = 64 << 20
BATCH_SIZE: Final = 512
SCHEDULE_DELAY_MS: Final = 5_000
EXPORT_TIMEOUT_MS: Final = 30_000
METRIC_INTERVAL_MS: Final = 60_000
#: A container that is stopped has 10 seconds by default.
SHUTDOWN_TIMEOUT_S: Final = 5.0


def messaging_opt_in(environment: Mapping[str, str] | None = None) -> str:
    """Return which names of messaging attributes OTEL_SEMCONV_STABILITY_OPT_IN asks for.

    It is `messaging/dup`, `messaging`, or empty; values of other conventions do not count (docs/messaging/README.md).
    """
    chosen = _Reader(os.environ if environment is None else environment).names("OTEL_SEMCONV_STABILITY_OPT_IN", ())
    return next((name for name in ("messaging/dup", "messaging") if name in chosen), "")


def config_file_path(environment: Mapping[str, str] | None = None) -> str | None:
    """Return the path in OTEL_CONFIG_FILE, which describes the whole SDK; None if there is none."""
    return _Reader(os.environ if environment is None else environment).text("OTEL_CONFIG_FILE", "") or None


def service_name(environment: Mapping[str, str] | None = None) -> str | None:
    """Return what OTEL_SERVICE_NAME says; None if it says nothing."""
    return _Reader(os.environ if environment is None else environment).text("OTEL_SERVICE_NAME", "") or None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """The settings for the export of spans.

    A processor or exporter that is built without `configure()` reads only these: the SDK that it is added to may know
    other samplers, exporters and propagators.
    """

    traces_protocol: str
    queue_size: int
    batch_size: int
    #: Milliseconds.
    schedule_delay_ms: int
    export_timeout_ms: int
    #: Bytes of memory that encoded spans may take before their export.
    queue_bytes: int = QUEUE_BYTES

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> ExportSettings:
        """Read the variables of the process, or those of a mapping.

        Raises:
            InvalidSetting: a value is not one that the specification allows.
        """
        return cls(**_export(_Reader(os.environ if environment is None else environment)))


def _export(read: _Reader) -> dict[str, Any]:
    """Read the fields of `ExportSettings`."""
    protocol = read.choice("OTEL_EXPORTER_OTLP_PROTOCOL", PROTOCOLS, "http/protobuf")
    traces_protocol = read.choice("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", PROTOCOLS, protocol)
    for signal, chosen in (("", protocol), ("TRACES_", traces_protocol)):
        read.check_otlp(f"OTEL_EXPORTER_OTLP_{signal}", chosen)
    queue_size = read.whole("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_SIZE)
    batch_size = read.whole("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", min(BATCH_SIZE, queue_size))
    if batch_size > queue_size:
        raise InvalidSetting("OTEL_BSP_MAX_EXPORT_BATCH_SIZE must not exceed OTEL_BSP_MAX_QUEUE_SIZE")
    return {
        "traces_protocol": traces_protocol,
        "queue_size": queue_size,
        "batch_size": batch_size,
        "schedule_delay_ms": read.whole("OTEL_BSP_SCHEDULE_DELAY", SCHEDULE_DELAY_MS),
        "export_timeout_ms": read.whole("OTEL_BSP_EXPORT_TIMEOUT", EXPORT_TIMEOUT_MS),
        "queue_bytes": read.whole("SAGATRACE_SPAN_QUEUE_BYTES", QUEUE_BYTES),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings(ExportSettings):
    """All settings of `configure()`."""

    disabled: bool
    traces_exporters: tuple[str, ...]
    metrics_exporters: tuple[str, ...]
    metrics_protocol: str
    sampler: str
    #: Between 0 and 1; for the two `traceidratio` samplers.
    sampling_ratio: float
    propagators: tuple[str, ...]
    metric_interval_ms: int
    #: The folder of span journals; None if the variable is not set, empty if it is `none`.
    journal: str | None
    #: One of SPAN_EXPORTS.
    span_export: str = "encoded"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> TelemetrySettings:
        """Read the variables of the process, or those of a mapping.

        Raises:
            InvalidSetting: a value is not one that the specification allows.
        """
        read = _Reader(os.environ if environment is None else environment)
        disabled = read.text("OTEL_SDK_DISABLED", "").lower() == "true"
        if disabled:  # Settings of what is switched off are not checked.
            read = _Reader({})
        protocol = read.choice("OTEL_EXPORTER_OTLP_PROTOCOL", PROTOCOLS, "http/protobuf")
        metrics_protocol = read.choice("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", PROTOCOLS, protocol)
        read.check_otlp("OTEL_EXPORTER_OTLP_METRICS_", metrics_protocol)
        sampler = read.choice("OTEL_TRACES_SAMPLER", SAMPLERS, "parentbased_always_on")
        exporters = read.exporters("OTEL_TRACES_EXPORTER", ENCODING_EXPORTER)
        read.check_sdk()
        return cls(
            **_export(read),
            disabled=disabled,
            traces_exporters=tuple(dict.fromkeys("otlp" if name == ENCODING_EXPORTER else name for name in exporters)),
            metrics_exporters=read.exporters("OTEL_METRICS_EXPORTER"),
            metrics_protocol=metrics_protocol,
            sampler=sampler,
            sampling_ratio=read.ratio("OTEL_TRACES_SAMPLER_ARG", 1.0) if sampler.endswith("traceidratio") else 1.0,
            propagators=read.names("OTEL_PROPAGATORS", ("tracecontext", "baggage")),
            metric_interval_ms=read.whole("OTEL_METRIC_EXPORT_INTERVAL", METRIC_INTERVAL_MS),
            journal=read.folder("SAGATRACE_JOURNAL_DIR"),
            span_export=read.choice("SAGATRACE_SPAN_EXPORT", SPAN_EXPORTS, "encoded"),
        )


#: Read where `instrument()` is not told: under `opentelemetry-instrument` nobody can.
PROCESS_SPANS: Final = ("loop", "explicit")


def instrument_settings(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the options of `instrument()` that have a variable, as far as it is set: SAGATRACE_PROCESS_SPANS, _LIMIT.

    Raises:
        InvalidSetting: a value is not one of those that the option allows.
    """
    read = _Reader(os.environ if environment is None else environment)
    found: dict[str, Any] = {}
    if read.text("SAGATRACE_PROCESS_SPANS", ""):
        found["process_spans"] = read.choice("SAGATRACE_PROCESS_SPANS", PROCESS_SPANS, "")
    if read.text("SAGATRACE_PROCESS_SPAN_LIMIT", ""):
        found["process_span_limit"] = read.positive("SAGATRACE_PROCESS_SPAN_LIMIT", 0.0)
    return found


class _Reader:
    """Reads variables by type. An empty one counts as unset (specification, "Empty value")."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, variable: str, default: str) -> str:
        return self._environment.get(variable, "").strip() or default

    def names(self, variable: str, default: tuple[str, ...]) -> tuple[str, ...]:
        given = self.text(variable, "")
        return tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip())) if given else default

    def choice(self, variable: str, choices: tuple[str, ...], default: str) -> str:
        value = self.text(variable, default).lower()
        if value not in choices:
            raise InvalidSetting(f"{variable} must be one of {', '.join(choices)}, not {value!r}")
        return value

    def folder(self, variable: str) -> str | None:
        given = self.text(variable, "")
        return "" if given.lower() == "none" else given or None

    def exporters(self, variable: str, *more: str) -> tuple[str, ...]:
        chosen = tuple(name.lower() for name in self.names(variable, ("otlp",)))
        for name in chosen:
            if name not in {*EXPORTERS, *more}:
                raise InvalidSetting(f"{variable} must be one of {', '.join(EXPORTERS)}, not {name!r}")
        return tuple(name for name in chosen if name != "none")

    def whole(self, variable: str, default: int) -> int:
        value = self.text(variable, str(default))
        if not value.isascii() or not value.isdigit() or int(value) == 0:
            raise InvalidSetting(f"{variable} must be a whole number above 0, not {value!r}")
        return int(value)

    def check_otlp(self, prefix: str, protocol: str) -> None:
        """Refuse what would fail at every export. Headers hold secrets, so no error repeats their value."""
        endpoint = self.text(f"{prefix}ENDPOINT", "")
        if endpoint and protocol == "http/protobuf" and not endpoint.startswith(("http://", "https://")):
            raise InvalidSetting(f"{prefix}ENDPOINT must begin with http:// or https:// for {protocol}")
        headers = self.names(f"{prefix}HEADERS", ())
        if not all(name and separator for name, separator, _ in (entry.partition("=") for entry in headers)):
            raise InvalidSetting(f"{prefix}HEADERS must be name=value pairs, joined by commas")
        self.positive(f"{prefix}TIMEOUT", 10.0)
        if self.text(f"{prefix}COMPRESSION", ""):
            self.choice(f"{prefix}COMPRESSION", COMPRESSIONS[protocol], "")
        for name in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"):
            self.readable(f"{prefix}{name}")

    def check_sdk(self) -> None:
        """Refuse what the API or the SDK would fail on, with another error, when a provider is made."""
        for variable in SPAN_LIMITS:
            self.limit(variable)
        chosen = self.text("OTEL_METRICS_EXEMPLAR_FILTER", EXEMPLAR_FILTERS[0])
        if chosen not in EXEMPLAR_FILTERS:
            variable = "OTEL_METRICS_EXEMPLAR_FILTER"
            raise InvalidSetting(f"{variable} must be one of {', '.join(EXEMPLAR_FILTERS)}, not {chosen!r}")
        for kind in ("tracer_provider", "meter_provider"):
            self.installed(f"OTEL_PYTHON_{kind}".upper(), f"opentelemetry_{kind}")

    def limit(self, variable: str) -> None:
        value = self.text(variable, "0")
        try:
            is_limit = int(value) >= 0
        except ValueError:
            is_limit = False
        if not is_limit:
            raise InvalidSetting(f"{variable} must be a whole number from 0, not {value!r}")

    def installed(self, variable: str, group: str) -> None:
        name = self.text(variable, "")
        if name and not entry_points(group=group, name=name):
            raise InvalidSetting(f"{variable} names {name!r}, which is not installed")

    def readable(self, variable: str) -> None:
        file = self.text(variable, "")
        if file and not (Path(file).is_file() and os.access(file, os.R_OK)):
            raise InvalidSetting(f"{variable} must name a file that can be read; {file!r} is none")

    def positive(self, variable: str, default: float) -> float:
        value = self.text(variable, str(default))
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0.0 < number < math.inf:
            raise InvalidSetting(f"{variable} must be a number above 0, not {value!r}")
        return number

    def ratio(self, variable: str, default: float) -> float:
        value = self.text(variable, str(default))
        try:
            ratio = float(value)
        except ValueError:
            ratio = -1.0
        if not 0.0 <= ratio <= 1.0:
            raise InvalidSetting(f"{variable} must be a number from 0 to 1, not {value!r}")
        return ratio
