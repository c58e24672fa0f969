"""Spans of Kafka operations that are leaner than the SDK's, under the SDK's own provider.

A `KafkaSpan` is an SDK span to everything that meets it: span processors, exporters, hooks, `isinstance`. It leaves out
what our spans do not need: a lock of its own, containers that check every value again, a copy when it ends. As soon as
a caller does something unusual (adds an event, sets a list, exceeds the limit of attributes) it changes to the SDK's
containers and the SDK's code.

The provider stays the user's: its resource, sampler, limits, id generator and span processors apply. Lean spans are
started only for a tracer with the private names of the SDK's, and only if the sampler is certain to sample the span and
the span is within the limits; any other span is started by the official `Tracer.start_span`.
"""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, SynchronousMultiSpanProcessor, Tracer
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.span import DEFAULT_TRACE_STATE
from opentelemetry.util.types import AttributeValue

from tracing.sampling import Certain, certain

#: The status that all spans of the SDK begin with.
_UNSET: Final = ReadableSpan("", resource=Resource({})).status
_NO_ATTRIBUTES: Final = BoundedAttributes(immutable=True)
#: Types of attribute values that need no check and no copy, where strings are of any length.
_PLAIN: Final = frozenset({str, int, bool, float})
_FLAGS: Final = tuple(TraceFlags(octet) for octet in range(4))
#: The private attributes of the SDK's tracer that are read here.
PRIVATE: tuple[str, ...] = ("_instrumentation_scope", "_span_limits", "_tracer_config", "_tracer_metrics")


class KafkaSpan(Span):
    """A started span; only `Starter` makes one."""

    __slots__ = (
        "_attributes",
        "_context",
        "_end_time",
        "_events",
        "_instrumentation_info",
        "_instrumentation_scope",
        "_kind",
        "_limits",
        "_links",
        "_name",
        "_parent",
        "_resource",
        "_span_processor",
        "_start_time",
        "_starter",
        "_status",
    )

    _starter: Starter
    #: One lock for all: only the SDK's code takes it, for the length of an assignment.
    _lock = threading.Lock()
    _sampler = _trace_config = _record_end_metrics = None
    _dropped = 0
    _record_exception = _set_status_on_exception = True

    def get_span_context(self) -> SpanContext:
        """Return the span's context."""
        return self._context  # type: ignore[return-value]  # a started span has one

    def set_attribute(self, key: str, value: Any) -> None:  # noqa: ANN401 - the SDK's signature
        """Set an attribute; it becomes the last one."""
        held = self._attributes
        if type(held) is dict and type(value) in _PLAIN and key and self._end_time is None and self._fits(held):
            held.pop(key, None)
            held[key] = value
        else:
            self._take_containers()
            super().set_attribute(key, value)

    def _fits(self, held: Mapping[str, object]) -> bool:
        most = self._limits.max_span_attributes
        return most is None or len(held) < most

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several attributes."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def _add_event(self, event: Any) -> None:  # noqa: ANN401 - the SDK's signature
        self._take_containers()
        super()._add_event(event)

    def _add_link(self, link: Link) -> None:
        self._take_containers()
        super()._add_link(link)

    def _take_containers(self) -> None:
        """Change to the SDK's containers."""
        if type(self._attributes) is dict:
            self._attributes = BoundedAttributes(
                self._limits.max_span_attributes, self._attributes, immutable=self._end_time is not None
            )
            self._events: Any = self._new_events()  # type: ignore[no-untyped-call]
            self._links = self._new_links(self._links)

    def end(self, end_time: int | None = None) -> None:
        """End the span and hand it to the span processors: itself, because nothing can change it any more."""
        if self._end_time is not None:
            super().end(end_time)
            return
        self._end_time = time_ns() if end_time is None else end_time
        if type(self._attributes) is BoundedAttributes:
            self._attributes._immutable = True
        processor = self._span_processor
        # Asked now: a processor that was added while the span was open hears of its whole end.
        if self._starter.is_heard_ending(processor):
            processor._on_ending(self)
        processor.on_end(self)

    def __copy__(self) -> ReadableSpan:
        return self._readable_span()

    def __deepcopy__(self, copied: dict[int, Any]) -> ReadableSpan:
        return copy.deepcopy(self.__copy__(), copied)


# Each of the SDK's properties that only returns a slot becomes the slot, because a property is a call, and every
# processor reads these of an ended span.
for _name in ("context", "parent", "resource", "instrumentation_scope"):
    setattr(KafkaSpan, _name, getattr(KafkaSpan, f"_{_name}"))


def _new_lock() -> None:
    """Make a lock for the child of a fork that no thread of its parent holds."""
    KafkaSpan._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


class Starter:
    """Starts the spans of one tracer."""

    __slots__ = ("_certain", "_ending", "_listening", "_random_ids", "_starting", "_tracer")

    def __init__(self, tracer: Any) -> None:  # noqa: ANN401 - its private names are read too
        self._tracer = tracer
        self._certain: Certain = certain(tracer.sampler)
        #: The span processors, and whether any of them acts when a span starts, and when it is about to end.
        self._listening: Any = self  # stands for none yet: anything but a tuple or None
        self._starting = self._ending = False
        self._random_ids = type(tracer.id_generator) is RandomIdGenerator

    def start(  # noqa: PLR0913, PLR0917 - the signature of Tracer.start_span
        self,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: dict[str, AttributeValue],
        links: Sequence[Link] = (),
        start_time: int | None = None,
        parent: SpanContext | None = None,
    ) -> trace.Span:
        """Start a span; the official one if ours is not certain to be equal to it.

        A caller that knows the current span context of `context` may pass it as `parent`.
        """
        tracer = self._tracer
        if parent is None:
            parent = trace.get_current_span(context).get_span_context()
        # The id last: one that was made for a span that the official tracer starts would be lost.
        is_ordinary = type(parent) is SpanContext and self._ordinary(attributes, links)
        span_context = self._context(parent) if is_ordinary else None
        if span_context is None:
            official: trace.Span = tracer.start_span(name, context, kind, attributes, links, start_time)
            return official
        span: Any = object.__new__(KafkaSpan)
        span._context = span_context
        span._parent = parent if parent[5] else None  # [5] is its validity
        span._name = name
        span._kind = kind
        span._attributes = attributes
        span._links = links
        span._events = ()
        span._status = _UNSET
        span._start_time = time_ns() if start_time is None else start_time
        span._end_time = None
        span._limits = tracer._span_limits
        span._resource = tracer.resource
        span._instrumentation_info = tracer.instrumentation_info
        span._instrumentation_scope = tracer._instrumentation_scope
        span._span_processor = processor = tracer.span_processor
        span._starter = self
        if self._listening is not getattr(processor, "_span_processors", None):
            self._listen(processor)
        if self._starting:
            processor.on_start(span, parent_context=context)
        return span  # type: ignore[no-any-return]  # it is a KafkaSpan

    def is_heard_ending(self, processor: SpanProcessor) -> bool:
        """Return whether a span processor acts when a span is about to end."""
        if self._listening is not getattr(processor, "_span_processors", None):
            self._listen(processor)
        return self._ending

    def _listen(self, processor: SpanProcessor) -> None:
        """Find out which processors override the base class's methods, which do nothing."""
        self._listening = getattr(processor, "_span_processors", None)
        asked = self._listening if type(processor) is SynchronousMultiSpanProcessor else (processor,)
        self._starting = any(_does(each.on_start, SpanProcessor.on_start) for each in asked)
        self._ending = any(_does(each._on_ending, SpanProcessor._on_ending) for each in asked)

    def _context(self, parent: SpanContext) -> SpanContext | None:
        """Return the context of a child; None if the child is not certain to be sampled."""
        trace_id, _, is_remote, flags, state, is_valid = parent
        ids = self._tracer.id_generator
        if is_valid:
            if not flags & 1 or not (self._certain.keeps_remote if is_remote else self._certain.keeps_local):
                return None
            random = flags & TraceFlags.RANDOM_TRACE_ID
        else:
            if not self._certain.root:
                return None
            trace_id = ids.generate_trace_id()
            random, state = ids.is_trace_id_random() << 1, DEFAULT_TRACE_STATE
        span_id = ids.generate_span_id()
        if not 0 < span_id < 1 << 64:
            return None
        # As the constructor does it, without checking again whether the ids are valid.
        return tuple.__new__(SpanContext, (trace_id, span_id, False, _FLAGS[1 | random], state, True))

    def _ordinary(self, attributes: dict[str, AttributeValue], links: Sequence[Link]) -> bool:
        """Return whether the SDK would keep all attributes and links as they are."""
        limits = self._tracer._span_limits
        for link in links:
            if not link._context[5]:
                return False
            if not link._attributes:
                link._attributes = _NO_ATTRIBUTES
            elif type(link._attributes) is not BoundedAttributes:
                link._attributes = BoundedAttributes(limits.max_link_attributes, link._attributes)
        return (
            self._tracer._tracer_config.is_enabled
            and (limits.max_links is None or len(links) <= limits.max_links)
            and (limits.max_span_attributes is None or len(attributes) <= limits.max_span_attributes)
            and "" not in attributes
            and _PLAIN.issuperset(map(type, attributes.values()))
        )


def _does(method: object, nothing: object) -> bool:
    return getattr(method, "__func__", None) is not nothing


def starter(tracer: object) -> Starter | None:
    """Return what starts lean spans for a tracer; None if the tracer or the SDK's span is not built as expected."""
    if type(tracer) is not Tracer or not all(hasattr(tracer, name) for name in PRIVATE):
        return None
    inside: Any = tracer
    limits = inside._span_limits
    if type(inside._tracer_metrics).__name__ != "NoOpTracerMetrics" or not _same_span():
        return None
    if (limits.max_span_attribute_length, limits.max_attribute_length) != (None, None):
        return None
    return Starter(tracer)


def _same_span() -> bool:
    """Return whether the SDK's span and its context hold what ours hold, and nothing else."""
    if SpanContext(1, 2, is_remote=False) != (1, 2, False, 0, DEFAULT_TRACE_STATE, True):
        return False
    return vars(ReadableSpan("", resource=Resource({}))).keys() <= set(KafkaSpan.__slots__)
