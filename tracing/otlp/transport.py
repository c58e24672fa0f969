"""Build the official OTLP exporters, and make them take bytes instead of spans.

Endpoints, headers, TLS, compression, timeouts and retries are theirs. The names used for this are private, so each is
checked first: `transport_of` returns None for an exporter that lacks one, and then that exporter gets spans as usual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, Final, Protocol

from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
from opentelemetry.sdk.trace.export import ConsoleSpanExporter
from opentelemetry.semconv.attributes.http_attributes import HTTP_RESPONSE_STATUS_CODE

from tracing.errors import InvalidSetting
from tracing.otlp.answers import NO_ANSWER, TOO_LARGE, Answer, accepted, grpc_answer, http_answer

#: Where the exporters are. Each is imported when it is chosen, because importing gRPC takes a tenth of a second.
_OTLP: Final = {
    ("traces", "http/protobuf"): "opentelemetry.exporter.otlp.proto.http.trace_exporter:OTLPSpanExporter",
    ("traces", "grpc"): "opentelemetry.exporter.otlp.proto.grpc.trace_exporter:OTLPSpanExporter",
    ("metrics", "http/protobuf"): "opentelemetry.exporter.otlp.proto.http.metric_exporter:OTLPMetricExporter",
    ("metrics", "grpc"): "opentelemetry.exporter.otlp.proto.grpc.metric_exporter:OTLPMetricExporter",
}
_GRPC_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
#: gRPC codes that the exporter must not try again by itself: the answer may be that the request is too large.
_GRPC_OURS: Final = frozenset({"RESOURCE_EXHAUSTED", "OUT_OF_RANGE"})
#: Bytes of a request; a gRPC server takes 4 MiB by default.
_REQUEST_BYTES: Final = 3 << 20


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


class Transport(Protocol):
    """A way to bring the bytes of a request to the receiver."""

    #: Bytes of a request, at most; one span alone may have more.
    most_bytes: int

    def send(self, body: bytes, spans: int) -> Answer:
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
            return kind if all(_has(exporter, name) for name in names) else None
    return None


def _has(exporter: object, path: str) -> bool:
    try:
        attrgetter(path)(exporter)
    except AttributeError:
        return False
    return True


class _Http:
    def __init__(self, exporter: Any) -> None:  # noqa: ANN401 - private names
        self._exporter = exporter
        #: The exporter's own limit; 0 for none.
        self._limit: int = max(0, getattr(exporter, "_max_request_size", 0))
        self.most_bytes = min(_REQUEST_BYTES, self._limit) or _REQUEST_BYTES
        self._response: Any = None
        channel = exporter._client._transport
        request = channel.request

        def remember(*arguments: object, **options: object) -> object:
            self._response = None
            self._response = request(*arguments, **options)
            return self._response

        channel.request = remember

    def send(self, body: bytes, spans: int) -> Answer:
        if 0 < self._limit < len(body):
            return self._refuse(len(body), spans)
        with self._exporter._metrics.export_operation(spans) as result:
            self._response = None
            done = self._exporter._client.export(body)
            if not done.success:
                result.error = done.error
                if done.status_code is not None:
                    result.error_attrs = {HTTP_RESPONSE_STATUS_CODE: done.status_code}
        response = self._response
        if done.status_code is None or response is None:
            return NO_ANSWER
        return http_answer(done.status_code, response.headers(), response.content())

    def _refuse(self, size: int, spans: int) -> Answer:
        """Refuse what the exporter itself would refuse; its metric counts a span that cannot be sent even alone."""
        if spans == 1:
            with self._exporter._metrics.export_operation(spans) as result:
                result.error = RequestPayloadTooLargeError(f"{size} bytes are more than the {self._limit} of a request")
        return TOO_LARGE

    def shutdown(self) -> None:
        self._exporter.shutdown()


class RequestPayloadTooLargeError(Exception):
    """A span with more bytes than the exporter's limit; its metric's `error.type` is the name of this class."""


class _Request:
    """A request that passes through the gRPC exporter in place of a list of spans."""

    def __init__(self, body: bytes, spans: int) -> None:
        self.body = body
        self.spans = spans


class _Grpc:
    """The exporter's own retries and reconnection around a stub that takes bytes."""

    most_bytes = _REQUEST_BYTES

    def __init__(self, exporter: Any) -> None:  # noqa: ANN401 - private names
        self._exporter = exporter
        self._answer = NO_ANSWER
        connect = exporter._initialize_channel_and_stub

        def reconnect() -> None:
            connect()
            exporter._client = SimpleNamespace(Export=self._stub(exporter._channel))

        exporter._initialize_channel_and_stub = reconnect
        exporter._translate_data = lambda request: request.body
        exporter._count_data = lambda request: request.spans
        exporter._retryable_error_codes = frozenset(
            code for code in exporter._retryable_error_codes if code.name not in _GRPC_OURS
        )
        exporter._client = SimpleNamespace(Export=self._stub(exporter._channel))

    def _stub(self, channel: Any) -> Callable[..., object]:  # noqa: ANN401 - of grpc
        call = channel.unary_unary(_GRPC_METHOD)

        def export(request: bytes, **options: object) -> object:
            self._answer = NO_ANSWER
            try:
                response: bytes = call(request, **options)
            except Exception as error:
                self._answer = _answer_of(error, len(request))
                raise
            self._answer = accepted(response)
            return response

        return export

    def send(self, body: bytes, spans: int) -> Answer:
        self._answer = NO_ANSWER
        self._exporter._export(_Request(body, spans))
        return self._answer

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _answer_of(error: Any, size: int) -> Answer:  # noqa: ANN401 - an RpcError, whose class has not these methods
    code = getattr(error, "code", None)
    if code is None:
        return NO_ANSWER
    return grpc_answer(code().name, error.details() or "", dict(error.trailing_metadata() or ()), size)


_KNOWN: Final[Sequence[tuple[str, Callable[[Any], Transport], tuple[str, ...]]]] = (
    ("opentelemetry.exporter.otlp.proto.http.", _Http, ("_client", "_metrics", "_client._transport")),
    (
        "opentelemetry.exporter.otlp.proto.grpc.",
        _Grpc,
        (
            *("_export", "_translate_data", "_count_data", "_initialize_channel_and_stub", "_channel", "_client"),
            "_retryable_error_codes",
        ),
    ),
)
