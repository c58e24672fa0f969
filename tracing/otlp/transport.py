"""Build the official OTLP exporters, and make them take bytes instead of spans.

Endpoints, headers, TLS, compression, timeouts and retries are theirs. The names used for this are private, so each is
checked first: `transport_of` returns None for an exporter that lacks one, and then that exporter gets spans as usual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Final, Protocol

from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
from opentelemetry.sdk.trace.export import ConsoleSpanExporter

from tracing.errors import InvalidSetting

#: Where the exporters are. Each is imported when it is chosen, because importing gRPC takes a tenth of a second.
_OTLP: Final = {
    ("traces", "http/protobuf"): "opentelemetry.exporter.otlp.proto.http.trace_exporter:OTLPSpanExporter",
    ("traces", "grpc"): "opentelemetry.exporter.otlp.proto.grpc.trace_exporter:OTLPSpanExporter",
    ("metrics", "http/protobuf"): "opentelemetry.exporter.otlp.proto.http.metric_exporter:OTLPMetricExporter",
    ("metrics", "grpc"): "opentelemetry.exporter.otlp.proto.grpc.metric_exporter:OTLPMetricExporter",
}
_GRPC_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
#: Answers after which the same request is to be sent again: the receiver, or something in front of it, is slow or busy
#: (OTLP, "Retryable Response Codes"). None stands for no answer at all.
_HTTP_AGAIN: Final = frozenset({None, 408, 429, 502, 503, 504})
_GRPC_AGAIN: Final = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)


def official_exporter(signal: str, name: str, protocol: str, **options: Any) -> Any:  # noqa: ANN401 - of either signal
    """Return an official exporter.

    Args:
        signal: `traces` or `metrics`.
        name: `otlp` or `console`.
        protocol: `http/protobuf` or `grpc`.
        **options: arguments of an OTLP exporter.

    Raises:
        InvalidSetting: the protocol's libraries are not installed.
    """
    if name == "console":
        return ConsoleSpanExporter() if signal == "traces" else ConsoleMetricExporter()
    module, _, attribute = _OTLP[signal, protocol].partition(":")
    try:
        return getattr(import_module(module), attribute)(**options)
    except ImportError as error:
        raise InvalidSetting(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}, but its exporter cannot be imported: {error.name}"
        ) from error


class ExportOutcome(Enum):
    """What became of a request."""

    ACCEPTED = "accepted"
    #: There was no answer, or the answer was to try again later.
    AGAIN = "again"
    #: The same request would be refused again.
    REFUSED = "refused"


class Transport(Protocol):
    """A way to bring the bytes of a request to the receiver."""

    def send(self, body: bytes, spans: int) -> ExportOutcome:
        """Post an ExportTraceServiceRequest with this number of spans; block for at most the exporter's timeout."""

    def shutdown(self) -> None:
        """Close; a retry that is waiting gives up."""


def takes_bytes(exporter: object) -> bool:
    """Return whether an exporter is an official one with the private names that a transport needs."""
    return _kind_of(exporter) is not None


def transport_of(exporter: object) -> Transport | None:
    """Return the transport of an official exporter, which must not be used in any other way afterwards."""
    kind = _kind_of(exporter)
    return None if kind is None else kind(exporter)


def _kind_of(exporter: object) -> Callable[[Any], Transport] | None:
    module = type(exporter).__module__
    for prefix, kind, names in _KNOWN:
        if module.startswith(prefix):
            return kind if all(hasattr(exporter, name) for name in names) else None
    return None


class _Http:
    def __init__(self, exporter: Any) -> None:  # noqa: ANN401 - private names
        self._exporter = exporter

    def send(self, body: bytes, spans: int) -> ExportOutcome:
        with self._exporter._metrics.export_operation(spans) as result:
            answer = self._exporter._client.export(body)
            if answer.success:
                return ExportOutcome.ACCEPTED
            result.error = answer.error
        return ExportOutcome.AGAIN if answer.status_code in _HTTP_AGAIN else ExportOutcome.REFUSED

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Request:
    """A request that passes through the gRPC exporter in place of a list of spans."""

    def __init__(self, body: bytes, spans: int) -> None:
        self.body = body
        self.spans = spans


class _Grpc:
    """The exporter's own retries and reconnection around a stub that takes bytes."""

    def __init__(self, exporter: Any) -> None:  # noqa: ANN401 - private names
        self._exporter = exporter
        self._code: str | None = None
        connect = exporter._initialize_channel_and_stub

        def reconnect() -> None:
            connect()
            exporter._client = SimpleNamespace(Export=self._stub(exporter._channel))

        exporter._initialize_channel_and_stub = reconnect
        exporter._translate_data = lambda request: request.body
        exporter._count_data = lambda request: request.spans
        exporter._client = SimpleNamespace(Export=self._stub(exporter._channel))

    def _stub(self, channel: Any) -> Callable[..., object]:  # noqa: ANN401 - of grpc
        call = channel.unary_unary(_GRPC_METHOD)

        def export(request: bytes, **options: object) -> object:
            try:
                self._code = None
                return call(request, **options)
            except Exception as error:
                self._code = getattr(getattr(error, "code", lambda: None)(), "name", None)
                raise

        return export

    def send(self, body: bytes, spans: int) -> ExportOutcome:
        if self._exporter._export(_Request(body, spans)).name == "SUCCESS":
            return ExportOutcome.ACCEPTED
        return ExportOutcome.AGAIN if self._code in _GRPC_AGAIN else ExportOutcome.REFUSED

    def shutdown(self) -> None:
        self._exporter.shutdown()


_KNOWN: Final[Sequence[tuple[str, Callable[[Any], Transport], tuple[str, ...]]]] = (
    ("opentelemetry.exporter.otlp.proto.http.", _Http, ("_client", "_metrics")),
    (
        "opentelemetry.exporter.otlp.proto.grpc.",
        _Grpc,
        ("_export", "_translate_data", "_count_data", "_initialize_channel_and_stub", "_channel", "_client"),
    ),
)
