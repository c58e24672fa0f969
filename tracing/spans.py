"""Starting and failing spans: what every operation on messages does alike.

A span that no sampler would record is not started at all: the context of its parent goes on instead. That is known
without asking when the sampler is the SDK's ParentBased with its default delegates and the parent is not sampled, and
when there is no SDK. Any other sampler is asked each time.
"""

from __future__ import annotations

import traceback
from typing import Any, Final

from aiokafka.errors import BrokerResponseError
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context
from opentelemetry.trace import NoOpTracer, Span, SpanContext, Status, StatusCode, Tracer, TracerProvider

from tracing import semconv

#: The key that opentelemetry-instrumentation kept from before the API had one; it honours both.
_SUPPRESS_PLAIN: Final = "suppress_instrumentation"
_SAMPLING_MODULE: Final = "opentelemetry.sdk.trace.sampling"
#: Frames of a handler's exception that go into its event, the innermost ones.
_FRAMES: Final = 32


def suppressed(context: Context) -> bool:
    """Tell whether instrumentation is switched off in a context, by either of the two keys in use."""
    return bool(context) and bool(context.get(_SUPPRESS_INSTRUMENTATION_KEY) or context.get(_SUPPRESS_PLAIN))


class Spans:
    """A tracer that may still be waiting for its provider."""

    __slots__ = ("_drops_local", "_drops_remote", "_known", "_tracer")

    def __init__(self, provider: TracerProvider | None = None, version: str = "") -> None:
        self._tracer = trace.get_tracer(semconv.SCOPE, version, provider, semconv.SCHEMA_URL)
        self._known: Tracer | None = None
        self._drops_local = self._drops_remote = False

    @property
    def tracer(self) -> Tracer:
        """The tracer to start spans with, once the provider is there the real one."""
        return self._look() if self._known is None else self._known

    def _look(self) -> Tracer:
        tracer: Tracer = getattr(self._tracer, "_tracer", self._tracer)
        if not isinstance(tracer, NoOpTracer):
            self._known = tracer
            self._drops_remote, self._drops_local = _drops_unsampled(tracer)
        return tracer

    def drops(self, parent: SpanContext) -> bool:
        """Tell whether a child of this parent is certainly not recorded, so that it need not be started."""
        if self._known is None and isinstance(self._look(), NoOpTracer):
            return True
        if parent.trace_flags & 1 or not parent.is_valid:
            return False
        return self._drops_remote if parent.is_remote else self._drops_local


def _drops_unsampled(tracer: Tracer) -> tuple[bool, bool]:
    """Tell whether a tracer's sampler drops the children of a remote and of a local parent that is not sampled."""
    sampler = getattr(tracer, "sampler", None)
    if _sampling_rule(sampler) != "ParentBased.should_sample":
        return False, False
    return (
        _is_always_off(getattr(sampler, "_remote_parent_not_sampled", None)),
        _is_always_off(getattr(sampler, "_local_parent_not_sampled", None)),
    )


def _is_always_off(sampler: Any) -> bool:  # noqa: ANN401 - the SDK's samplers are not known here
    return _sampling_rule(sampler) == "StaticSampler.should_sample" and sampler.get_description() == "AlwaysOffSampler"


def _sampling_rule(sampler: object) -> str:
    """Name the SDK's method that decides for a sampler; empty if it is not the SDK's."""
    rule: Any = getattr(type(sampler), "should_sample", None)
    return str(rule.__qualname__) if rule is not None and rule.__module__ == _SAMPLING_MODULE else ""


def error_type(error: BaseException) -> str:
    """Return the `error.type` of an exception: Kafka's own code if a broker sent one, else the qualified class name.

    Source: kafka.md, "error.type"; recording-errors.md.
    """
    if isinstance(error, BrokerResponseError) and (code := getattr(error, "message", None)):
        return str(code)
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def record_error(span: Span, error: BaseException) -> str:
    """Set status and `error.type` on a span and return the type.

    The description is what the class says, never the exception's message, which may quote a payload.
    """
    kind = error_type(error)
    if span.is_recording():
        span.set_attribute(semconv.ERROR_TYPE, kind)
        span.set_status(Status(StatusCode.ERROR, _description(error)))
    return kind


def _description(error: BaseException) -> str:
    if isinstance(error, BrokerResponseError) and error.description:
        return error.description
    return type(error).__qualname__


def record_frames(span: Span, error: BaseException) -> None:
    """Add an `exception` event with the type and the lines passed through, without the message.

    A cancellation is no mistake in the lines that it passed through, so it gets none.
    """
    if span.is_recording() and isinstance(error, Exception):
        frames = "".join(traceback.format_tb(error.__traceback__)[-_FRAMES:])
        span.add_event(
            semconv.EXCEPTION_EVENT,
            {semconv.EXCEPTION_TYPE: error_type(error), semconv.EXCEPTION_STACKTRACE: frames},
        )
