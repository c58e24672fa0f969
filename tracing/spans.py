"""Start and fail spans: what all operations on messages have in common.

A span that no sampler would record is not started at all: its parent's context is used instead. That is known without
asking when the sampler is the SDK's ParentBased with its default delegates and the parent is not sampled, and without
an SDK. Any other sampler is asked each time. Recorded spans are lean ones where the tracer allows it (see
`kafka_span`).
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from aiokafka.errors import BrokerResponseError
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context
from opentelemetry.trace import (
    Link,
    NoOpTracer,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    TracerProvider,
)
from opentelemetry.util.types import AttributeValue

from tracing import semconv
from tracing.api import is_of_sdk
from tracing.sampling import Certain, certain
from tracing.semconv import Names

if TYPE_CHECKING:
    from tracing.kafka_span import Starter

#: The key that opentelemetry-instrumentation used before the API had one; it still honours both.
_SUPPRESS_PLAIN: Final = "suppress_instrumentation"
#: The links that are kept of a span if the provider does not say: the default of OTEL_SPAN_LINK_COUNT_LIMIT.
_LINKS: Final = 128
#: The innermost frames of a handler's exception that go into its event.
_FRAMES: Final = 32


def suppressed(context: Context) -> bool:
    """Return whether instrumentation is switched off in a context, by either of the two keys in use."""
    return bool(context) and bool(context.get(_SUPPRESS_INSTRUMENTATION_KEY) or context.get(_SUPPRESS_PLAIN))


class Spans:
    """A tracer that may still be waiting for its provider."""

    __slots__ = ("_certain", "_known", "_lean", "_links", "_names", "_starter", "_tracer")

    def __init__(
        self,
        provider: TracerProvider | None = None,
        version: str = "",
        names: Names = semconv.NAMES[""],
        *,
        lean: bool = True,
    ) -> None:
        self._lean = lean
        #: None if no attribute has two names.
        self._names = names if names.twins else None
        self._tracer = trace.get_tracer(semconv.SCOPE, version, provider, names.schema_url)
        self._known: Tracer | None = None
        self._starter: Starter | None = None
        self._certain = Certain()
        self._links = _LINKS

    @property
    def link_limit(self) -> int:
        """The most links that the provider keeps of a span (OTEL_SPAN_LINK_COUNT_LIMIT); it drops the rest."""
        if self._known is None:
            self._look()
        return self._links

    def _look(self) -> Tracer:
        """Return the tracer to start spans with: the real one as soon as there is a provider."""
        tracer: Tracer = getattr(self._tracer, "_tracer", self._tracer)
        if not isinstance(tracer, NoOpTracer):
            self._known = tracer
            self._certain = certain(getattr(tracer, "sampler", None))
            most = getattr(getattr(tracer, "_span_limits", None), "max_links", _LINKS)
            self._links = sys.maxsize if most is None else most
            self._starter = _starter(tracer) if self._lean else None
        return tracer

    def start(  # noqa: PLR0913, PLR0917 - the signature of Tracer.start_span
        self,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: dict[str, AttributeValue],
        links: Sequence[Link] = (),
        start_time: int | None = None,
        parent: SpanContext | None = None,
    ) -> Span:
        """Start a span. The attributes become the span's own: do not change them afterwards.

        A caller that knows the current span context of `context` may pass it as `parent`.
        """
        tracer = self._known or self._look()
        if self._names is not None:
            self._names.add_twins(attributes)
        if self._starter is not None:
            return self._starter.start(name, context, kind, attributes, links, start_time, parent)
        return tracer.start_span(name, context, kind, attributes, links, start_time)

    def drops(self, parent: SpanContext) -> bool:
        """Return whether a child of this parent is certain not to be recorded, so that it need not be started."""
        if self._known is None and isinstance(self._look(), NoOpTracer):
            return True
        if parent[3] & 1 or not parent.is_valid:  # its flags; the property would be a call
            return False
        return self._certain.drops_remote if parent.is_remote else self._certain.drops_local


def _starter(tracer: Tracer) -> Starter | None:
    """Return what starts lean spans for a tracer; None if it is not the SDK's, or one that is built otherwise."""
    if not is_of_sdk(tracer):
        return None
    from tracing.kafka_span import starter  # noqa: PLC0415 - it imports the SDK, which is there if a tracer is

    return starter(tracer)


def error_type(error: BaseException) -> str:
    """Return the `error.type` of an exception: Kafka's own code if a broker sent one, or the qualified class name.

    Source: kafka.md, "error.type"; recording-errors.md.
    """
    if isinstance(error, BrokerResponseError) and (code := getattr(error, "message", None)):
        return str(code)
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def record_error(span: Span, error: BaseException, description: str | None = None) -> str:
    """Set status and `error.type` on a span, and return the type.

    A description that is not given comes from the exception's class, never from its message, which may quote a payload.
    """
    kind = error_type(error)
    if span.is_recording():
        span.set_attribute(semconv.ERROR_TYPE, kind)
        span.set_status(Status(StatusCode.ERROR, description or _description(error)))
    return kind


def _description(error: BaseException) -> str:
    if isinstance(error, BrokerResponseError) and error.description:
        return error.description
    return type(error).__qualname__


def record_frames(span: Span, error: BaseException) -> None:
    """Add an `exception` event with the type and the stack trace, without the message.

    A cancellation gets none, because it is not a fault of the lines that it passed through.
    """
    if span.is_recording() and isinstance(error, Exception):
        frames = "".join(traceback.format_tb(error.__traceback__)[-_FRAMES:])
        span.add_event(
            semconv.EXCEPTION_EVENT,
            {semconv.EXCEPTION_TYPE: error_type(error), semconv.EXCEPTION_STACKTRACE: frames},
        )
